/** Snapshots of database files, cut without a node. */
import fs from 'node:fs';
import os from 'node:os';
import Sqlite from 'better-sqlite3';
import { CHECKSUM_FLAG, pageChecksum } from '../../src/kernels/checksum.ts';
import type { CheckLevel } from '../../src/snapshots/image.ts';
import type { FinishedSnapshot } from '../../src/snapshots/snapshot-file.ts';
import { snapshotTasks } from '../../src/snapshots/tasks.ts';

export interface SnapshotOf {
  /** The archive's folder. */
  readonly archive: string;
  /** A database file that nobody writes. */
  readonly file: string;
  readonly txid: number;
  readonly timestampMs?: number;
  readonly check?: CheckLevel;
}

/** Adds a snapshot of a file to an archive, which is made. */
export function addSnapshot(options: SnapshotOf): FinishedSnapshot {
  const { archive, file, txid, timestampMs = Date.now(), check = 'quick' } = options;
  const bytes = fs.readFileSync(file);
  const pageSize = bytes.readUInt16BE(16) === 1 ? 65536 : bytes.readUInt16BE(16);
  const records: Buffer[] = [];
  let xor = 0n;
  for (let at = 0; at < bytes.length; at += pageSize) {
    const page = bytes.subarray(at, at + pageSize);
    const pgno = at / pageSize + 1;
    const head = Buffer.alloc(4);
    head.writeUInt32BE(pgno);
    records.push(head, page);
    xor ^= pageChecksum(pgno, page);
  }
  const position = { txid, checksum: xor | CHECKSUM_FLAG };
  const tasks = snapshotTasks();
  const size = { pageSize, pageCount: bytes.length / pageSize };
  const snapshot = tasks.begin({
    archive,
    base: { position, ...size, timestampMs, compress: true },
  });
  tasks.pages({ snapshot, records: Buffer.concat(records) });
  return tasks.finish({
    snapshot,
    entries: [],
    end: position,
    check,
    scratchDir: os.tmpdir(),
    nowMs: timestampMs,
  });
}

/** A database whose schema says `now` where `sql` says `was`: of collations and functions that SQLite does not know. */
export function makeDatabase(file: string, sql: string, [was, now]: readonly [string, string]) {
  const db = new Sqlite(file);
  try {
    db.exec(sql);
    db.unsafeMode();
    db.pragma('writable_schema = ON');
    db.prepare('UPDATE sqlite_schema SET sql = replace(sql, ?, ?)').run(was, now);
  } finally {
    db.close();
  }
}
