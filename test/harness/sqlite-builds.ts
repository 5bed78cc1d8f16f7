/**
 * Builds sql-driver.c for several SQLites, once each: what applications bring along is of many ages, and each writes its
 * -wal in its own way.
 *
 * - debian: the machine's own library, on Debian 12 SQLite 3.40.1;
 * - newest: the amalgamation that better-sqlite3 has;
 * - oldest: 3.7.8 of 2011, the second release with a WAL that npm still has the source of.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const ROOT = path.resolve(import.meta.dirname, '../..');
const DRIVER = path.join(import.meta.dirname, 'sql-driver.c');
const CACHE = path.join(ROOT, 'node_modules/.cache/sqlite-drivers');
const OLD = path.join(ROOT, 'test/apps/old-sqlite');
const OLD_ARCHIVE = 'node_modules/sqlite3/deps/sqlite-autoconf-3070800.tar.gz';
const NEWEST_SOURCE = path.join(ROOT, 'node_modules/better-sqlite3/deps/sqlite3/sqlite3.c');
const INSTALL_MS_MAX = 60_000;
const COMPILE_MS_MAX = 300_000;
/** Without usleep(3) it would wait whole seconds for a lock. */
const DEFINES = ['SQLITE_THREADSAFE=0', 'SQLITE_OMIT_LOAD_EXTENSION', 'HAVE_USLEEP=1'];
const FLAGS = ['-O1', '-w', ...DEFINES.map((define) => `-D${define}`)];

export const SQLITE_NAMES = ['debian', 'newest', 'oldest'] as const;
export type SqliteName = (typeof SQLITE_NAMES)[number];

export interface SqliteBuilds {
  /** The program of each that could be built. */
  readonly programs: ReadonlyMap<SqliteName, string>;
  /** Why the others could not. */
  readonly missing: readonly string[];
}

/** Builds what is not built yet. What cannot be built is said, and no error. */
export async function buildSqlites(
  names: readonly SqliteName[] = SQLITE_NAMES,
): Promise<SqliteBuilds> {
  const programs = new Map<SqliteName, string>();
  const missing: string[] = [];
  const attempts = names.map(async (name) => {
    try {
      programs.set(name, await BUILD[name]());
    } catch (error) {
      missing.push(`${name}: ${(error as Error).message.trim().split('\n').at(-1)}`);
    }
  });
  await Promise.all(attempts);
  return { programs, missing };
}

const BUILD: Record<SqliteName, () => Promise<string>> = {
  debian: () => compiled('debian', [DRIVER], ['-l:libsqlite3.so.0']),
  newest: () => compiled('newest', [DRIVER, NEWEST_SOURCE], ['-lm']),
  oldest: async () => compiled('oldest', [DRIVER, await oldSource()], ['-lm']),
};

async function compiled(
  name: SqliteName,
  sources: readonly string[],
  libraries: readonly string[],
): Promise<string> {
  const hash = createHash('sha256');
  for (const source of sources) hash.update(fs.readFileSync(source));
  hash.update([...FLAGS, ...libraries].join(' '));
  const program = path.join(CACHE, `${name}-${hash.digest('hex').slice(0, 16)}`);
  if (fs.existsSync(program)) return program;
  fs.mkdirSync(CACHE, { recursive: true });
  // Under a name of its own until it is whole: another test file may be at the same.
  const unfinished = `${program}.${process.pid}`;
  await run('gcc', [...FLAGS, '-o', unfinished, ...sources, ...libraries], {
    timeout: COMPILE_MS_MAX,
  });
  fs.renameSync(unfinished, program);
  return program;
}

/** The amalgamation of the archive in the package, which npm checks. */
async function oldSource(): Promise<string> {
  const archive = path.join(OLD, OLD_ARCHIVE);
  if (!fs.existsSync(archive)) {
    await run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], {
      cwd: OLD,
      timeout: INSTALL_MS_MAX,
    });
  }
  const member = `${path.basename(archive, '.tar.gz')}/sqlite3.c`;
  const source = path.join(OLD, 'node_modules/.source', member);
  if (fs.existsSync(source)) return source;
  const dir = path.join(OLD, `node_modules/.source.${process.pid}`);
  fs.mkdirSync(dir, { recursive: true });
  await run('tar', ['xzf', archive, '-C', dir, member]);
  fs.mkdirSync(path.dirname(source), { recursive: true });
  fs.renameSync(path.join(dir, member), source);
  fs.rmSync(dir, { recursive: true });
  return source;
}
