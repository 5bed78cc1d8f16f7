/** An application that is Debian's sqlite3. */
import { execFileSync } from 'node:child_process';

/** Runs SQL; the -wal stays as it is, as after an application that goes on. */
export function runSql(file: string, sql: string): void {
  const input = `.dbconfig no_ckpt_on_close on\n${sql}`;
  execFileSync('sqlite3', ['-batch', '-bail', file], { input });
}
