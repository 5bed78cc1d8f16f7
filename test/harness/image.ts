/** What a database looks like to its readers: all pages, whether they are in the file or in the -wal. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import Sqlite from 'better-sqlite3';

/** Copies database and -wal, checkpoints the copy and returns the bytes of the file. */
export function databaseImage(file: string): Buffer {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-image-'));
  try {
    const copy = path.join(dir, 'db');
    fs.copyFileSync(file, copy);
    if (fs.existsSync(`${file}-wal`) && fs.statSync(`${file}-wal`).size > 0) {
      fs.copyFileSync(`${file}-wal`, `${copy}-wal`);
      const db = new Sqlite(copy);
      db.pragma('wal_checkpoint(TRUNCATE)');
      db.close();
    }
    return fs.readFileSync(copy);
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
}
