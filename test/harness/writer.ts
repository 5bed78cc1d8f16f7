/**
 * An application for tests, a process of its own: writes one row a transaction, and prints its number once the
 * commit has returned. Ends with status 1 at the first error. Arguments: file, journal mode, synchronous.
 */
import fs from 'node:fs';
import Sqlite from 'better-sqlite3';

const [file, mode, synchronous] = process.argv.slice(2);
try {
  const db = new Sqlite(file, { timeout: 5000 });
  db.pragma(`journal_mode = ${mode}`);
  db.pragma(`synchronous = ${synchronous}`);
  db.exec('CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, data BLOB)');
  const insert = db.prepare('INSERT INTO t(data) VALUES(?)');
  for (;;) {
    const { lastInsertRowid } = insert.run(Buffer.alloc(Math.floor(Math.random() * 3000), 1));
    fs.writeSync(1, `${lastInsertRowid}\n`);
  }
} catch (error) {
  fs.writeSync(2, `${(error as Error).message}\n`);
  process.exit(1);
}
