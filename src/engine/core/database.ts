/**
 * A database as the engine knows it: where it stands, the checksum of each of its pages, its log,
 * and how far its -wal has been followed. State only; what is done with it is in the other files.
 */
import path from 'node:path';
import type { LtxHeader } from '../../ltx/header.ts';
import { type Position, ZERO_POSITION } from '../../ltx/position.ts';
import type { WalCursor } from '../../sqlite/wal.ts';
import type { Layout } from '../../store/layout.ts';
import { TransactionLog } from '../../store/log.ts';
import type { DatabaseOwnership } from '../../store/ownership.ts';
import { PageSums } from '../../store/page-sums.ts';
import { DatabaseFiles, type Roots } from '../files/files.ts';
import { FileWrites } from '../wal/file-writes.ts';
import { NOT_FOLLOWED, type WalFollowed } from '../wal/wal-follow.ts';
import { WalGuard } from '../wal/wal-guard.ts';
import { WalOwner } from '../wal/wal-owner.ts';
import { Tally } from './tally.ts';

/** What the outside is told of a database. */
export type DatabaseStatus =
  | { readonly state: 'ok' }
  | { readonly state: 'syncing'; readonly reason: string }
  | { readonly state: 'degraded'; readonly reason: string };

/** How far the -wal has been followed. */
export interface WalFollow {
  /** undefined: no generation of the -wal has been seen since the last checkpoint of everything. */
  cursor: WalCursor | undefined;
  /** On a primary. */
  followed: WalFollowed;
  /** On a primary: this generation, or one before it since the last that was, began without a sync, as under synchronous=OFF. */
  isUnsynced: boolean;
  readonly guard: WalGuard;
  /** The newest captured (on a replica: applied) frame of each page in this generation. */
  readonly frames: Map<number, number>;
}

/** That a replica may write a database, since the primary holds its write lock for it (halt/borrower.ts). */
export interface HaltState {
  /**
   * Page 1 as it is at our position, where the -wal has another change counter: writers of a -wal do not count it up, but
   * connections to a primary in a rollback-journal mode go by it. Goes into the -wal when the lock ends.
   */
  readonly page1: Buffer | undefined;
}

/** Is told of the pages that a new entry changes (a running cut of pages, see cut.ts). */
export interface ChangeListener {
  changed(pgno: number): void;
}

export class Database {
  readonly name: string;
  /** The flat name of its files below data.dir. */
  readonly encoded: string;
  readonly log: TransactionLog;
  sums = new PageSums();
  readonly files: DatabaseFiles;
  /** Writes the -wal, where that is ours to write. */
  readonly owner: WalOwner;
  /** Why something may have changed that no journal and no -wal told of, so that only a comparison helps. */
  suspicion: string | undefined;
  /** Why the last look at it found a lock or a journal in its way. */
  obstacle = '';
  /** On a primary: what was written to it, by the events. */
  writes = new FileWrites();
  /** On a primary: why its files are in quarantine/. Replicas keep what they have until another file takes the name. */
  aside: string | undefined;
  /** On a replica: it may be written here, each transaction by leave of the primary. */
  halt: HaltState | undefined;
  /** To whom it belongs on the primary, as far as that is known; of one that is there only. */
  ownership: DatabaseOwnership | undefined;
  position: Position = ZERO_POSITION;
  /** What readers see, while transactions that the position has are not shown yet. */
  shown: Position | undefined;
  /** 0 while the database is empty or dropped. */
  pageSize = 0;
  status: DatabaseStatus = { state: 'ok' };
  /** When the background last found a page wrong that nothing had written, ms since 1970; 0 for never. */
  faultMs = 0;
  /** Since when that is its state, ms since 1970. */
  statusSinceMs = 0;
  readonly wal: WalFollow = {
    cursor: undefined,
    followed: NOT_FOLLOWED,
    isUnsynced: false,
    guard: new WalGuard(),
    frames: new Map(),
  };
  readonly changeListeners = new Set<ChangeListener>();
  readonly tally = new Tally();
  /** The change counter of page 1 as last captured or applied; tells journal-less commits. */
  changeCounter = 0;
  /** Whether the sums file on disk is behind. */
  sumsSavedTxid = 0;

  constructor(name: string, encoded: string, layout: Layout, roots: Roots, log: TransactionLog) {
    this.name = name;
    this.encoded = encoded;
    this.log = log;
    this.files = new DatabaseFiles(roots, name, () => log.sync());
    this.owner = new WalOwner(this.files, this.wal);
    this.sumsFile = path.join(layout.state, `${encoded}.sums`);
    this.markerFile = path.join(layout.state, `${encoded}.json`);
    this.imageFile = path.join(layout.state, `${encoded}.image`);
    this.asideFile = path.join(layout.state, `${encoded}.aside`);
    this.ownerFile = path.join(layout.state, `${encoded}.owner`);
  }

  readonly sumsFile: string;
  readonly markerFile: string;
  /** What becomes the file, or a part of it, of a new database (apply/new-database.ts). */
  readonly imageFile: string;
  /** The note of a quarantine (quarantine.ts). */
  readonly asideFile: string;
  /** On a replica: keeps `ownership`. */
  readonly ownerFile: string;

  get pageCount(): number {
    return this.sums.pageCount;
  }

  /** Forgets the generation of the -wal: everything in it has been captured and is in the database. */
  forgetWal(): void {
    this.wal.cursor = undefined;
    this.wal.followed = NOT_FOLLOWED;
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

/** Opens the log of a database and makes its state object; position and sums come from recovery. */
export function openDatabase(
  name: string,
  encoded: string,
  layout: Layout,
  roots: Roots,
  warn: (message: string) => void,
): Database {
  const log = TransactionLog.open(path.join(layout.ltx, encoded), warn);
  return new Database(name, encoded, layout, roots, log);
}
