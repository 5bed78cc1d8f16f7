/**
 * Nothing is thrown away silently: what a replica had and its primary never did is kept as LTX files under
 * divergence/<database>/<time>/ before it is replaced.
 *
 *     log/                      the transactions of its log, as they were
 *     <txid>-<txid>.ltx         the pages that were replaced, as they were: applied to the primary's
 *                               state (its pre-apply checksum) it gives back what the replica had
 *     1-<txid>.ltx              instead of that, when the whole database went: a snapshot
 *     about.json                which database, both positions, when
 *     <name>, <name>-wal        instead of all but about.json, when it never was replicated: a file that somebody had put
 *                               there on the replica
 */
import fs from 'node:fs';
import path from 'node:path';
import { LtxEncoder } from '../../ltx/encoder.ts';
import type { LtxHeader } from '../../ltx/header.ts';
import { ltxFileName } from '../../ltx/names.ts';
import { formatPosition, type Position } from '../../ltx/position.ts';
import { fileSink } from '../../ltx/sources.ts';
import { lockPageNumber } from '../../sqlite/db-header.ts';
import type { EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import { readCurrentPage } from '../read/current-page.ts';
import { dropFiles } from './new-database.ts';
import type { StagedImage } from './staged-image.ts';

/** Keeps the pages that a resync is about to replace or cut off, and the log. */
export function keepReplaced(
  ctx: EngineContext,
  db: Database,
  image: StagedImage,
  newPageCount: number,
  newPosition: Position,
): void {
  if (db.pageCount === 0) return;
  if (image.pageSize !== db.pageSize) {
    keepWhole(ctx, db, newPosition);
    return;
  }
  const pgnos: number[] = [];
  for (const { pgno } of image.sums()) if (pgno <= db.pageCount) pgnos.push(pgno);
  for (let pgno = newPageCount + 1; pgno <= db.pageCount; pgno++) pgnos.push(pgno);
  const unique = [...new Set(pgnos)].sort((a, b) => a - b);
  if (unique.length === 0 && db.log.entryCount === 0) return;
  keep(ctx, db, newPosition, unique, {
    minTxid: Math.max(1, db.position.txid),
    preChecksum: newPosition.checksum,
  });
}

/** Keeps all of a database. `newPosition`: what takes its place; undefined for nothing. */
export function keepWhole(ctx: EngineContext, db: Database, newPosition?: Position): void {
  if (db.pageCount === 0) return;
  const pgnos = Array.from({ length: db.pageCount }, (_, i) => i + 1);
  keep(ctx, db, newPosition, pgnos, { minTxid: 1, preChecksum: 0n });
}

const KINDS = ['db', 'wal', 'shm', 'journal'] as const;

/** Keeps a file that lies where a database of the primary is to be, and removes it from there, with what is beside it. */
export function keepUnknown(ctx: EngineContext, db: Database, newPosition: Position): void {
  if (db.pageCount > 0) return;
  const left = KINDS.filter((kind) => db.files.exists(kind));
  if (db.files.size('db') === 0) {
    // What stands beside no database is a part of none. An empty file is what a connection that came early has open.
    for (const kind of left) if (kind !== 'db') db.files.unlink(kind);
    return;
  }
  const dir = newFolder(ctx, db);
  for (const kind of left.filter((one) => one !== 'shm')) {
    const name = kind === 'db' ? db.encoded : `${db.encoded}-${kind}`;
    db.files.tree.linkOut(db.files.nameOf(kind), path.join(dir, name));
  }
  dropFiles(db);
  db.files.unlink('journal');
  about(ctx, db, dir, null, newPosition);
  ctx.log(
    'warn',
    `${db.name} was put here past its primary, which has another one: kept in ${dir}`,
    {
      database: db.name,
    },
  );
}

function newFolder(ctx: EngineContext, db: Database): string {
  const when = new Date(ctx.wallClockMs()).toISOString().replace(/[:.]/g, '-');
  const dir = path.join(ctx.layout.divergence, db.encoded, when);
  fs.mkdirSync(dir, { recursive: true });
  return dir;
}

/** `had`: null for what had no position. */
function about(
  ctx: EngineContext,
  db: Database,
  dir: string,
  had: Position | null,
  newPosition: Position | undefined,
): { readonly had: string | null; readonly replacedBy: string | null } {
  const positions = {
    had: had && formatPosition(had),
    replacedBy: newPosition ? formatPosition(newPosition) : null,
  };
  const at = new Date(ctx.wallClockMs()).toISOString();
  const text = JSON.stringify({ database: db.name, ...positions, at }, null, 2);
  fs.writeFileSync(path.join(dir, 'about.json'), `${text}\n`);
  return positions;
}

function keep(
  ctx: EngineContext,
  db: Database,
  newPosition: Position | undefined,
  pgnos: readonly number[],
  fields: { minTxid: number; preChecksum: bigint },
): void {
  const dir = newFolder(ctx, db);
  fs.mkdirSync(path.join(dir, 'log'));
  for (const file of db.log.files()) fs.linkSync(file, path.join(dir, 'log', path.basename(file)));
  const { txid } = db.position;
  const header: LtxHeader = {
    ...db.nextHeader({
      pageSize: db.pageSize,
      commit: db.pageCount,
      transactions: 1,
      timestampMs: ctx.wallClockMs(),
      nodeId: ctx.nodeId,
    }),
    minTxid: fields.minTxid,
    maxTxid: Math.max(1, txid),
    preChecksum: fields.preChecksum,
  };
  const fd = fs.openSync(path.join(dir, ltxFileName(header.minTxid, header.maxTxid)), 'wx', 0o600);
  try {
    const sink = fileSink(fd);
    const encoder = new LtxEncoder(sink, header, { compress: true });
    const lockPage = lockPageNumber(db.pageSize);
    const page = Buffer.allocUnsafe(db.pageSize);
    for (const pgno of pgnos) {
      if (pgno === lockPage) continue;
      readCurrentPage(db, pgno, page);
      encoder.page(pgno, page);
    }
    encoder.finish(db.sums.checksum);
    sink.flush();
    fs.fdatasyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
  const { had, replacedBy } = about(ctx, db, dir, db.position, newPosition);
  ctx.log('warn', `${db.name} had what its primary does not: kept in ${dir}`, {
    database: db.name,
    had,
    replacedBy,
  });
}
