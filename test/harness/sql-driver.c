/*
 * An application for tests, built for any SQLite from 3.7 on: runs SQL that comes on its standard input, on several
 * connections, and can be told to die at a certain system call. See sql-driver.ts for the requests, one a line:
 *
 *   open  US connection US file US busy timeout, ms US read-only (0, 1)
 *   run   US connection US statement RS statement ...    stops, and rolls back, at the first error
 *   close US connection
 *   die   US when (before, after) US call US count US end of the file's name
 *   step  US beginning of the names of files
 *   watch US file US query US integrity_check each so many US reopen each so many US busy timeout, ms US read-only
 *         US stay in each so many, ms
 *
 * Each is answered with one line: `ok` US rows (columns by |, rows by RS), or `error` US statement US code US message.
 * watch goes on until the next line comes: that query must answer `ok` and a number that does not fall, in every read
 * transaction. Its answer is `ok` US transactions US busy US lowest number US highest number US complaints by RS; that
 * the database was busy is counted, and no complaint.
 *
 * After `step` it stops at each system call on such a file, and says `at` US call US file US offset or flags US size US the first
 * bytes, if it is a write. One byte on its standard input says how it goes on: g the call is done, d it dies,
 * e it fails with the error whose number is the next byte, s it is said to be done. A call that was done is followed by `did` US result. Where it would sleep it says `at` US sleep, and
 * does not sleep.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The few declarations that are needed: no header of a certain version. */
typedef struct sqlite3 sqlite3;
typedef struct sqlite3_stmt sqlite3_stmt;
int sqlite3_open_v2(const char *, sqlite3 **, int, const char *);
int sqlite3_close(sqlite3 *);
int sqlite3_busy_timeout(sqlite3 *, int);
int sqlite3_exec(sqlite3 *, const char *, int (*)(void *, int, char **, char **), void *, char **);
int sqlite3_extended_errcode(sqlite3 *);
int sqlite3_extended_result_codes(sqlite3 *, int);
int sqlite3_get_autocommit(sqlite3 *);
const char *sqlite3_errmsg(sqlite3 *);
const char *sqlite3_libversion(void);

#define OPEN_READONLY 1
#define OPEN_READWRITE 2
#define OPEN_CREATE 4
#define BUSY 5
#define CONNECTIONS_MAX 16
#define COMPLAINTS_MAX 5
/* Between two reads: others want a processor too. */
#define REST_US 2000
/* Transactions between two that are held open. */
#define STAY_EACH 6
#define US '\x1f'
#define RS '\x1e'

/* --- Where to die. ------------------------------------------------------------------------------------ */

static struct {
  const char *call; /* NULL: nowhere */
  const char *suffix;
  int count;
  int after;
} fate;

static int is_at(int fd, const char *path) {
  char link[64], name[4096];
  size_t length, wanted = strlen(fate.suffix);
  if (path) {
    snprintf(name, sizeof name, "%s", path);
  } else {
    ssize_t got;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    got = readlink(link, name, sizeof name - 1);
    if (got < 0) return 0;
    name[got] = 0;
  }
  length = strlen(name);
  return length >= wanted && strcmp(name + length - wanted, fate.suffix) == 0;
}

/* Whether this call is the one. */
static int is_fated(const char *call, int fd, const char *path) {
  if (!fate.call || strcmp(fate.call, call) != 0 || !is_at(fd, path)) return 0;
  return --fate.count == 0;
}

static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

/* --- Step by step. ------------------------------------------------------------------------------------ */

#define SHOWN_BYTES 32

/* The beginning of the names of the files; NULL: it never stops. */
static char *stepped;

static void say(const char *line, size_t length) {
  while (length > 0) {
    long said = syscall(SYS_write, 1, line, length);
    if (said <= 0) _exit(3);
    line += said;
    length -= said;
  }
}

static char next_byte(void) {
  char byte;
  if (syscall(SYS_read, 0, &byte, 1) != 1) _exit(3);
  return byte;
}

/* Returns what is to become of the call; 0 when it is not one that stops. */
static int stop_at(const char *call, int fd, const char *path, long at, long size, const void *data) {
  char link[64], name[4096], line[8192], how;
  int length;
  if (!stepped) return 0;
  if (path) {
    snprintf(name, sizeof name, "%s", path);
  } else if (fd >= 0) {
    ssize_t got;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    got = readlink(link, name, sizeof name - 1);
    if (got < 0) return 0;
    name[got] = 0;
  } else {
    snprintf(name, sizeof name, "%s", stepped);
  }
  if (strncmp(name, stepped, strlen(stepped)) != 0) return 0;
  length = snprintf(line, sizeof line, "at\x1f%s\x1f%s\x1f%ld\x1f%ld\x1f", call, name, at, size);
  for (long i = 0; data && i < size && i < SHOWN_BYTES; i++) {
    length += snprintf(line + length, sizeof line - length, "%02x", ((const unsigned char *)data)[i]);
  }
  line[length++] = '\n';
  say(line, length);
  how = next_byte();
  if (how == 'd') die();
  return how;
}

static void say_done(long result) {
  char line[64];
  say(line, snprintf(line, sizeof line, "did\x1f%ld\n", result));
}

#define DONE(name, fd, path, at, size, data, call)          \
  do {                                                      \
    int fated = is_fated(name, fd, path), failed, how;      \
    long result;                                            \
    if (fated && !fate.after) die();                        \
    how = stop_at(name, fd, path, at, size, data);          \
    if (how == 'e') {                                       \
      errno = next_byte();                                  \
      return -1;                                            \
    }                                                       \
    if (how == 's') return strcmp(name, "write") == 0 ? size : 0; \
    result = call;                                          \
    failed = errno;                                         \
    if (fated) die();                                       \
    if (how) say_done(result);                              \
    errno = failed;                                         \
    return result;                                          \
  } while (0)

/* Of SQLite's calls these come here, in the place of the C library's. */
ssize_t pwrite64(int fd, const void *from, size_t size, off64_t at) {
  DONE("write", fd, NULL, at, size, from, syscall(SYS_pwrite64, fd, from, size, at));
}
ssize_t pwrite(int fd, const void *from, size_t size, off_t at) {
  DONE("write", fd, NULL, at, size, from, syscall(SYS_pwrite64, fd, from, size, at));
}
ssize_t write(int fd, const void *from, size_t size) {
  DONE("write", fd, NULL, stepped ? lseek(fd, 0, SEEK_CUR) : 0, size, from,
       syscall(SYS_write, fd, from, size));
}
int fsync(int fd) { DONE("sync", fd, NULL, 0, 0, NULL, syscall(SYS_fsync, fd)); }
int fdatasync(int fd) { DONE("sync", fd, NULL, 0, 0, NULL, syscall(SYS_fdatasync, fd)); }
int ftruncate64(int fd, off64_t size) {
  DONE("truncate", fd, NULL, 0, size, NULL, syscall(SYS_ftruncate, fd, size));
}
int ftruncate(int fd, off_t size) {
  DONE("truncate", fd, NULL, 0, size, NULL, syscall(SYS_ftruncate, fd, size));
}
int unlink(const char *path) {
  DONE("unlink", -1, path, 0, 0, NULL, syscall(SYS_unlinkat, AT_FDCWD, path, 0));
}
int close(int fd) { DONE("close", fd, NULL, 0, 0, NULL, syscall(SYS_close, fd)); }

static int opened(const char *path, int flags, int mode) {
  DONE("open", -1, path, flags, 0, NULL, syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}
int open64(const char *path, int flags, ...) {
  va_list args;
  int mode;
  va_start(args, flags);
  mode = flags & O_CREAT ? va_arg(args, int) : 0;
  va_end(args);
  return opened(path, flags, mode);
}
int open(const char *path, int flags, ...) __attribute__((alias("open64")));

static void slept(long ns) {
  struct timespec time = {ns / 1000000000, ns % 1000000000};
  if (!stop_at("sleep", -1, NULL, 0, ns / 1000, NULL)) syscall(SYS_nanosleep, &time, NULL);
  else say_done(0);
}
int usleep(useconds_t us) {
  slept(us * 1000L);
  return 0;
}
unsigned sleep(unsigned s) {
  slept(s * 1000000000L);
  return 0;
}
int nanosleep(const struct timespec *time, struct timespec *rest) {
  (void)rest;
  slept(time->tv_sec * 1000000000L + time->tv_nsec);
  return 0;
}

static int locked_fcntl(int fd, int command, void *arg) {
  const char *call = command == F_SETLK && ((struct flock *)arg)->l_type == F_UNLCK ? "unlock" : "lock";
  /* Whether it got a lock shows in the result. */
  if (command != F_SETLK) return syscall(SYS_fcntl, fd, command, arg);
  DONE(call, fd, NULL, ((struct flock *)arg)->l_start, ((struct flock *)arg)->l_len, NULL,
       syscall(SYS_fcntl, fd, command, arg));
}
int fcntl64(int fd, int command, ...) {
  va_list args;
  void *arg;
  va_start(args, command);
  arg = va_arg(args, void *);
  va_end(args);
  return locked_fcntl(fd, command, arg);
}
int fcntl(int fd, int command, ...) {
  va_list args;
  void *arg;
  va_start(args, command);
  arg = va_arg(args, void *);
  va_end(args);
  return locked_fcntl(fd, command, arg);
}

/* --- Requests. ---------------------------------------------------------------------------------------- */

static sqlite3 *connections[CONNECTIONS_MAX];

struct rows {
  char *text;
  size_t length, room;
};

static void put(struct rows *rows, const char *text, size_t length) {
  if (rows->length + length + 1 > rows->room) {
    rows->room = (rows->length + length + 1) * 2;
    rows->text = realloc(rows->text, rows->room);
  }
  memcpy(rows->text + rows->length, text, length);
  rows->length += length;
  rows->text[rows->length] = 0;
}

static int on_row(void *into, int columns, char **values, char **names) {
  struct rows *rows = into;
  (void)names;
  if (rows->length > 0) put(rows, "\x1e", 1);
  for (int i = 0; i < columns; i++) {
    const char *value = values[i] ? values[i] : "NULL";
    if (i > 0) put(rows, "|", 1);
    for (const char *at = value; *at; at++) put(rows, *at == '\n' ? " " : at, 1);
  }
  return 0;
}

static sqlite3 **connection(const char *number) {
  int at = atoi(number);
  if (at < 0 || at >= CONNECTIONS_MAX) exit(2);
  return &connections[at];
}

static void answer_error(sqlite3 *db, int statement, int code) {
  printf("error\x1f%d\x1f%d\x1f%s\n", statement, db ? sqlite3_extended_errcode(db) : code,
         db ? sqlite3_errmsg(db) : "no connection");
}

static sqlite3 *open_file(const char *file, int timeout, int readonly) {
  sqlite3 *db = NULL;
  int flags = readonly ? OPEN_READONLY : OPEN_READWRITE | OPEN_CREATE;
  if (sqlite3_open_v2(file, &db, flags, NULL) != 0) {
    if (db) sqlite3_close(db);
    return NULL;
  }
  sqlite3_extended_result_codes(db, 1);
  sqlite3_busy_timeout(db, timeout);
  return db;
}

static void do_open(char **args) {
  sqlite3 **db = connection(args[0]);
  if (*db) sqlite3_close(*db);
  *db = open_file(args[1], atoi(args[2]), atoi(args[3]));
  if (*db) printf("ok\x1f%s\n", sqlite3_libversion());
  else answer_error(NULL, 0, 14);
}

static void do_run(char **args) {
  sqlite3 *db = *connection(args[0]);
  struct rows rows = {0};
  int statement = 0;
  for (char *sql = args[1]; sql; statement++) {
    char *end = strchr(sql, RS);
    int code;
    if (end) *end = 0;
    code = db ? sqlite3_exec(db, sql, on_row, &rows, NULL) : 21;
    if (code != 0) {
      answer_error(db, statement, code);
      if (db && !sqlite3_get_autocommit(db)) sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
      free(rows.text);
      return;
    }
    sql = end ? end + 1 : NULL;
  }
  printf("ok\x1f%s\n", rows.text ? rows.text : "");
  free(rows.text);
}

static void do_close(char **args) {
  sqlite3 **db = connection(args[0]);
  int code = *db ? sqlite3_close(*db) : 0;
  if (code != 0) answer_error(*db, 0, code);
  else printf("ok\x1f\n");
  *db = NULL;
}

static void do_die(char **args) {
  fate.after = strcmp(args[0], "after") == 0;
  fate.call = strdup(args[1]);
  fate.count = atoi(args[2]);
  fate.suffix = strdup(args[3]);
  printf("ok\x1f\n");
}

static void do_step(char **args) {
  stepped = strdup(args[0]);
  printf("ok\x1f\n");
}

/* --- Watching. ---------------------------------------------------------------------------------------- */

static char complaints[COMPLAINTS_MAX][400];
static int complaint_count;

static void complain(const char *what, sqlite3 *db, const char *text) {
  if (complaint_count < COMPLAINTS_MAX) {
    snprintf(complaints[complaint_count], sizeof complaints[0], "%s: %s (%d)", what,
             text ? text : sqlite3_errmsg(db), db ? sqlite3_extended_errcode(db) : 0);
  }
  complaint_count++;
}

static int has_input(void) {
  struct pollfd input = {0, POLLIN, 0};
  return poll(&input, 1, 0) != 0;
}

/* Counts SQLITE_BUSY apart from all other errors. Returns whether the statement succeeded. */
static int step(sqlite3 *db, const char *sql, struct rows *rows, long *busy) {
  int code = sqlite3_exec(db, sql, on_row, rows, NULL);
  if (code == 0) return 1;
  if ((code & 0xff) == BUSY) ++*busy;
  else complain("failed", db, NULL);
  return 0;
}

static void do_watch(char **args) {
  const char *file = args[0], *query = args[1];
  int check_each = atoi(args[2]), reopen_each = atoi(args[3]);
  int timeout = atoi(args[4]), readonly = atoi(args[5]), stay_ms = atoi(args[6]);
  long transactions = 0, busy = 0, lowest = -1, highest = -1;
  sqlite3 *db = NULL;
  complaint_count = 0;
  for (long turn = 1; !has_input(); turn++) {
    struct rows rows = {0};
    if (db && reopen_each > 0 && turn % reopen_each == 0) {
      sqlite3_close(db);
      db = NULL;
    }
    if (!db) db = open_file(file, timeout, readonly);
    if (!db) {
      complain("open", NULL, "could not be opened");
      usleep(1000);
      continue;
    }
    if (step(db, "BEGIN", &rows, &busy) && step(db, query, &rows, &busy)) {
      long number = -1;
      transactions++;
      if (sscanf(rows.text ? rows.text : "", "ok %ld", &number) != 1) {
        complain("torn", NULL, rows.text);
      } else if (number < highest) {
        complain("went back", NULL, rows.text);
      } else {
        if (lowest < 0) lowest = number;
        highest = number;
      }
      rows.length = 0;
      if (check_each > 0 && turn % check_each == 0 && step(db, "PRAGMA integrity_check", &rows, &busy)) {
        if (strcmp(rows.text, "ok") != 0) complain("damaged", NULL, rows.text);
      }
      if (stay_ms > 0 && turn % STAY_EACH == 0) usleep(stay_ms * 1000);
      /* The same snapshot still. */
      rows.length = 0;
      if (step(db, query, &rows, &busy)) {
        long again = -1;
        sscanf(rows.text ? rows.text : "", "ok %ld", &again);
        if (again != number) complain("changed in a transaction", NULL, rows.text);
      }
    }
    if (!sqlite3_get_autocommit(db)) {
      rows.length = 0;
      step(db, "COMMIT", &rows, &busy);
    }
    free(rows.text);
    usleep(REST_US);
  }
  if (db) sqlite3_close(db);
  printf("ok\x1f%ld\x1f%ld\x1f%ld\x1f%ld\x1f", transactions, busy, lowest, highest);
  for (int i = 0; i < complaint_count && i < COMPLAINTS_MAX; i++) printf("%s\x1e", complaints[i]);
  if (complaint_count > COMPLAINTS_MAX) printf("%d in all", complaint_count);
  printf("\n");
}

int main(void) {
  static const struct {
    const char *name;
    int args;
    void (*run)(char **);
  } commands[] = {{"open", 4, do_open}, {"run", 2, do_run},     {"close", 1, do_close},
                  {"die", 4, do_die},   {"step", 1, do_step},   {"watch", 7, do_watch},
                  {NULL, 0, NULL}};
  char *line = NULL;
  size_t room = 0;
  /* What has_input() asks for must not wait in a buffer of ours. */
  setvbuf(stdin, NULL, _IONBF, 0);
  while (getline(&line, &room, stdin) > 0) {
    char *args[8] = {0};
    int count = 0, found = 0;
    line[strcspn(line, "\n")] = 0;
    for (char *at = line; at && count < 8; count++) {
      args[count] = at;
      at = strchr(at, US);
      if (at) *at++ = 0;
    }
    for (int i = 0; commands[i].name; i++) {
      if (strcmp(commands[i].name, args[0]) != 0 || count != commands[i].args + 1) continue;
      commands[i].run(args + 1);
      found = 1;
    }
    if (!found) return 2;
    fflush(stdout);
  }
  for (int i = 0; i < CONNECTIONS_MAX; i++) if (connections[i]) sqlite3_close(connections[i]);
  return 0;
}
