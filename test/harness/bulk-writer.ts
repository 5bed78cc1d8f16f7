/** Writes a lot, in a process of its own. Arguments: file, MiB in all, number of transactions. */
import { randomBytes } from 'node:crypto';
import Sqlite from 'better-sqlite3';

const ROW_BYTES = 1 << 16;

const [file, mib, transactions] = process.argv.slice(2);
const db = new Sqlite(file);
db.pragma('journal_mode = wal');
db.pragma('cache_size = -20000');
db.exec('CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, data BLOB)');
const insert = db.prepare('INSERT INTO t(data) VALUES(?)');
const data = randomBytes(ROW_BYTES);
const rows = (Number(mib) * 2 ** 20) / ROW_BYTES / Number(transactions);
for (let transaction = 0; transaction < Number(transactions); transaction++) {
  db.exec('BEGIN');
  for (let row = 0; row < rows; row++) {
    data.writeUInt32LE(row);
    insert.run(data);
  }
  db.exec('COMMIT');
}
db.close();
