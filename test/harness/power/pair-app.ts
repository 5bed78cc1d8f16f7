/**
 * An application with transactions over two databases: `node pair-app.ts <file> <other> <count>`. Each puts the same row, of
 * several pages, into both.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import Sqlite from 'better-sqlite3';

/** Makes so many transactions, and ends. @throws Error when it fails */
export async function writePairs(file: string, other: string, count: number): Promise<void> {
  const args = [import.meta.filename, file, other, `${count}`];
  const child: ChildProcess = spawn(process.execPath, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let errors = '';
  child.stderr?.on('data', (text) => {
    errors += text;
  });
  const [status] = await once(child, 'close');
  if (status !== 0) throw new Error(`the application ended with ${status}: ${errors}`);
}

/** The rows of one of the databases. @throws Error when it is corrupt */
export function pairsIn(file: string): number[] {
  const db = new Sqlite(file, { readonly: true });
  try {
    const check = db.pragma('integrity_check', { simple: true });
    if (check !== 'ok') throw new Error(`${file}: ${check}`);
    const known = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'pairs'").get();
    return known ? (db.prepare('SELECT id FROM pairs ORDER BY id').pluck().all() as number[]) : [];
  } finally {
    db.close();
  }
}

function write(file: string, other: string, count: number): void {
  const db = new Sqlite(file, { timeout: 20_000 });
  db.prepare('ATTACH ? AS other').run(other);
  for (const name of ['main', 'other']) {
    db.pragma(`${name}.synchronous = full`);
    db.exec(`CREATE TABLE IF NOT EXISTS ${name}.pairs(id INTEGER PRIMARY KEY, data BLOB)`);
  }
  const insert = ['main', 'other'].map((name) =>
    db.prepare(`INSERT INTO ${name}.pairs VALUES(?, randomblob(20000))`),
  );
  const pair = db.transaction((id: number) => {
    for (const one of insert) one.run(id);
  });
  for (let id = 1; id <= count; id++) pair.immediate(id);
  db.close();
}

if (import.meta.main) {
  const [file, other, count] = process.argv.slice(2);
  write(file, other, Number(count));
}
