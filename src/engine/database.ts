/**
 * A database as the engine knows it: where it stands, the checksum of each of its pages, its log,
 * and how far its -wal has been followed. State only; what is done with it is in the other files.
 */
import path from 'node:path';
import type { LtxHeader } from '../ltx/header.ts';
import { type Position, ZERO_POSITION } from '../ltx/position.ts';
import type { WalCursor } from '../sqlite/wal.ts';
import type { Layout } from '../store/layout.ts';
import type { StoredEntry } from '../store/log-files.ts';
import { TransactionLog } from '../store/log.ts';
import { PageSums } from '../store/page-sums.ts';
import { DatabaseFiles } from './files.ts';

/** What the outside is told of a database. */
export type DatabaseStatus =
  | { readonly state: 'ok' }
  | { readonly state: 'syncing'; readonly reason: string }
  | { readonly state: 'degraded'; readonly reason: string };

/** How far the -wal has been followed. */
export interface WalFollow {
  /** undefined: no generation of the -wal has been seen since the last checkpoint of everything. */
  cursor: WalCursor | undefined;
  /** The newest captured frame of each page in this generation. */
  readonly frames: Map<number, number>;
}

/** Is told of the pages that a new entry changes (a running cut of pages, see cut.ts). */
export interface ChangeListener {
  changed(pgno: number): void;
}

export interface CapturedEntry {
  readonly entry: StoredEntry;
  /** The LTX file itself when it is small. */
  readonly bytes: Uint8Array | undefined;
}

export class Database {
  readonly name: string;
  /** The flat name of its files below data.dir. */
  readonly encoded: string;
  readonly log: TransactionLog;
  readonly sums: PageSums;
  files: DatabaseFiles;
  position: Position = ZERO_POSITION;
  /** 0 while the database is empty or dropped. */
  pageSize = 0;
  status: DatabaseStatus = { state: 'ok' };
  readonly wal: WalFollow = { cursor: undefined, frames: new Map() };
  readonly changeListeners = new Set<ChangeListener>();
  /** The change counter of page 1 as last captured or applied; tells journal-less commits. */
  changeCounter = 0;
  /** ms of the engine's clock when something last happened to it. */
  activeMs = 0;
  /** Whether the sums file on disk is behind. */
  sumsSavedTxid = 0;

  constructor(name: string, encoded: string, layout: Layout, root: string, parts: { log: TransactionLog; sums: PageSums }) {
    this.name = name;
    this.encoded = encoded;
    this.log = parts.log;
    this.sums = parts.sums;
    this.files = new DatabaseFiles(root, name);
    this.sumsFile = path.join(layout.state, `${encoded}.sums`);
    this.markerFile = path.join(layout.state, `${encoded}.json`);
  }

  readonly sumsFile: string;
  readonly markerFile: string;

  get pageCount(): number {
    return this.sums.pageCount;
  }

  /** Forgets the generation of the -wal: everything in it has been captured and is in the database. */
  forgetWal(): void {
    this.wal.cursor = undefined;
    this.wal.frames.clear();
  }

  /** The header that every transaction of this database begins with. */
  nextHeader(fields: {
    pageSize: number;
    commit: number;
    transactions: number;
    timestampMs: number;
    nodeId: bigint;
  }): LtxHeader {
    return {
      flags: 0,
      pageSize: fields.pageSize,
      commit: fields.commit,
      minTxid: this.position.txid + 1,
      maxTxid: this.position.txid + fields.transactions,
      timestampMs: fields.timestampMs,
      preChecksum: this.position.checksum,
      walOffset: 0,
      walSize: 0,
      walSalt1: 0,
      walSalt2: 0,
      nodeId: fields.nodeId,
    };
  }
}

/** Opens the log of a database and makes its state object; the sums come from recovery. */
export function openDatabase(
  name: string,
  encoded: string,
  layout: Layout,
  root: string,
  warn: (message: string) => void,
): Database {
  const log = TransactionLog.open(path.join(layout.ltx, encoded), warn);
  return new Database(name, encoded, layout, root, { log, sums: new PageSums() });
}
