/** What a database looks like to its readers: all pages, whether they are in the file or in the -wal. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import Sqlite from 'better-sqlite3';
import { CHECKSUM_FLAG, pageChecksum } from '../../src/kernels/checksum.ts';
import { formatPosition } from '../../src/ltx/position.ts';

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

/** The position, as its -pos file has it but for the end of the line, of a database with this content. */
export function positionOf(txid: number, image: Buffer): string {
  const pageSize = image.readUInt16BE(16) === 1 ? 65536 : image.readUInt16BE(16);
  let xor = 0n;
  for (let at = 0; at < image.length; at += pageSize) {
    xor ^= pageChecksum(at / pageSize + 1, image.subarray(at, at + pageSize));
  }
  return formatPosition({ txid, checksum: xor | CHECKSUM_FLAG });
}
