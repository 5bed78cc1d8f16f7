/**
 * A database of which every committed state is known: accounts between which money moves, a sum that never changes, the
 * list of all states so far, and a sum over all rows that is written last. Rows are filled with the number of the
 * transaction that has written them, so that any page of another state shows.
 *
 * All SQL of it is understood by SQLite 3.7.8.
 */

export const ACCOUNTS = 128;
const BALANCE = 1000;
const TOTAL = ACCOUNTS * BALANCE;
/** Bytes of filler for each repetition of a transaction's number. */
const FILL_BYTES = 8;

/** As many repetitions of a transaction's number. */
export function filler(token: number | string, times: number | string): string {
  return `replace(hex(zeroblob(${times})),'00',substr('0000000'||${token},-${FILL_BYTES}))`;
}

const SUM_OF_ROWS = `(
  (SELECT sum((id*31 + balance*17 + stamp*13 + length(filler)) % 1000003) FROM accounts) +
  (SELECT count(*) + total((id*7 + stamp*3 + length(filler)) % 1000003) FROM ballast))`;

/** Makes the tables, in one transaction. `times`: repetitions in the filler of each account. */
export function creation(times: number): string[] {
  const doubled = Math.log2(ACCOUNTS);
  return [
    'BEGIN IMMEDIATE',
    'CREATE TABLE accounts(id INTEGER PRIMARY KEY, balance INT, stamp INT, filler TEXT)',
    'CREATE INDEX by_stamp ON accounts(stamp)',
    'CREATE TABLE ballast(id INTEGER PRIMARY KEY, stamp INT, filler TEXT)',
    'CREATE TABLE states(n INTEGER PRIMARY KEY, token INT)',
    'CREATE TABLE meta(id INTEGER PRIMARY KEY, n INT, token INT, rows_sum INT)',
    `INSERT INTO accounts VALUES(1, ${BALANCE}, 1, ${filler(1, times)})`,
    ...Array.from(
      { length: doubled },
      (_, i) => `INSERT INTO accounts SELECT id + ${2 ** i}, balance, stamp, filler FROM accounts`,
    ),
    'INSERT INTO meta VALUES(1, 0, 0, 0)',
    ...recorded(1),
    'COMMIT',
  ];
}

/** The last statements of each transaction: they make its state known by this number. */
export function recorded(token: number): string[] {
  return [
    `UPDATE meta SET n = n + 1, token = ${token}, rows_sum = ${SUM_OF_ROWS}`,
    'INSERT INTO states SELECT n, token FROM meta',
  ];
}

/** Moves money from some accounts to the same number of others, those `step` further on. */
export function transfer(token: number, from: number, count: number, step: number): string[] {
  const amount = 1 + (token % 7);
  const moved = (first: number, change: string) =>
    `UPDATE accounts SET balance = balance ${change}, stamp = ${token},
       filler = ${filler(token, `length(filler)/${FILL_BYTES}`)}
     WHERE (id + ${ACCOUNTS - 1 - first}) % ${ACCOUNTS} < ${count}`;
  return [moved(from, `- ${amount}`), moved((from + step) % ACCOUNTS, `+ ${amount}`)];
}

/** Writes all accounts again, `times` repetitions of the number in each. */
export function rewritten(token: number, times: number): string {
  return `UPDATE accounts SET stamp = ${token}, filler = ${filler(token, times)}`;
}

/** Rows that come and go, beside the accounts. */
export function ballast(token: number, from: number, count: number, times: number): string {
  return `INSERT OR REPLACE INTO ballast SELECT id + ${from}, ${token}, ${filler(token, times)}
    FROM accounts WHERE id <= ${count}`;
}

/** What must never be seen: half of a transfer. */
export function halfTransfer(token: number): string {
  return `UPDATE accounts SET balance = balance - 5, stamp = ${token}, filler = ${filler(token, `length(filler)/${FILL_BYTES}`)}`;
}

/** Whether the filler of a row has something else in it than the number of its transaction. */
const IS_FOREIGN = `replace(filler, substr('0000000'||stamp,-${FILL_BYTES}), '') IS NOT ''`;

/** Answers `ok` and the number of the state, or what is wrong with it. */
export const CHECK = `SELECT CASE
  WHEN (SELECT sum(balance) FROM accounts) IS NOT ${TOTAL}
    THEN 'the sum is ' || (SELECT sum(balance) FROM accounts)
  WHEN (SELECT count(*) FROM states) IS NOT (SELECT n FROM meta)
    THEN (SELECT n FROM meta) || ' states, but ' || (SELECT count(*) FROM states) || ' are listed'
  WHEN (SELECT token FROM states ORDER BY n DESC LIMIT 1) IS NOT (SELECT token FROM meta)
    THEN 'the list does not end with transaction ' || (SELECT token FROM meta)
  WHEN ${SUM_OF_ROWS} IS NOT (SELECT rows_sum FROM meta)
    THEN 'the rows add up to ' || ${SUM_OF_ROWS} || ', not ' || (SELECT rows_sum FROM meta)
  WHEN EXISTS(SELECT 1 FROM accounts WHERE ${IS_FOREIGN})
    THEN 'an account is filled with what another transaction has written'
  WHEN EXISTS(SELECT 1 FROM ballast WHERE ${IS_FOREIGN})
    THEN 'ballast is filled with what another transaction has written'
  ELSE 'ok ' || (SELECT n FROM meta) END`;

/** The numbers of all transactions so far, oldest first, with commas. */
export const HISTORY =
  "SELECT coalesce(group_concat(token), '') FROM (SELECT token FROM states ORDER BY n)";
