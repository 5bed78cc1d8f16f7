/** Databases in memory with all that replication asks of a store: pages are 8 bytes, an entry is the pages it changes. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { LiteFsError } from '../../../src/errors.ts';
import type { Position } from '../../../src/ltx/position.ts';
import type {
  LogRead,
  PageCut,
  PeerChecksums,
  ReceivedEntry,
  ReplicationStore,
  Resync,
} from '../../../src/replication/store.ts';
import type { LogEntry } from '../../../src/store/log-entry.ts';
import type { DatabaseOwnership } from '../../../src/store/ownership.ts';

const PAGE_BYTES = 8;
const RECORD_BYTES = 4 + PAGE_BYTES;
const MASK = 2n ** 64n - 1n;
const FLAG = 1n << 63n;

/** Content by page number. */
export type Pages = ReadonlyMap<number, bigint>;

/** One without pages was dropped. */
interface MemoryDatabase {
  pages: Map<number, bigint>;
  position: Position;
  log: LogEntry[];
}

/** The next page of a cut of such a database; undefined at the end. */
export async function nextRecord(cut: PageCut): Promise<Buffer | undefined> {
  const into = new SharedArrayBuffer(RECORD_BYTES);
  return (await cut.nextInto(into)) > 0 ? Buffer.from(into) : undefined;
}

export class MemoryStore implements ReplicationStore {
  readonly spoolDir: string = '/nowhere';
  readonly databases = new Map<string, MemoryDatabase>();
  /** What was replaced and kept, because the primary never had it. */
  readonly kept: string[] = [];
  /** Databases that are in quarantine. */
  readonly aside = new Set<string>();
  /** To whom databases belong. */
  readonly ownerships = new Map<string, DatabaseOwnership>();
  /** Whether the next step that writes fails. */
  diskIsFull: () => boolean = () => false;
  #queue: Promise<void> = Promise.resolve();
  #looks = 0;
  readonly #ownershipListeners = new Set<(database: string) => void>();
  readonly #entryListeners = new Set<(entry: LogEntry) => void>();
  readonly #dropListeners = new Set<(database: string, isInLog: boolean) => void>();

  /** A transaction of the application. */
  commit(name: string, changes: Pages): void {
    const db = this.databases.get(name) ?? { pages: new Map(), position: ZERO, log: [] };
    this.databases.set(name, db);
    const pages = new Map([...db.pages, ...changes]);
    const post = { txid: db.position.txid + 1, checksum: checksumOf(pages) };
    const bytes = encodeEntry(db.position, post, changes);
    this.#append(name, db, pages, post, bytes);
  }

  /** The application deletes the database, which is an entry. */
  remove(name: string): void {
    const db = this.databases.get(name);
    if (!db || db.pages.size === 0) return;
    const post = { txid: db.position.txid + 1, checksum: 0n };
    this.#append(name, db, new Map(), post, encodeEntry(db.position, post, new Map()));
  }

  /** It is gone, and all that was known of it. */
  forget(name: string): void {
    if (!this.databases.delete(name)) return;
    for (const listener of this.#dropListeners) listener(name, false);
  }

  /** The log forgets all but its newest entries. */
  trim(name: string, keep: number): void {
    const db = this.databases.get(name);
    if (db) db.log = keep === 0 ? [] : db.log.slice(-keep);
  }

  /** A page changes without anybody knowing, as by a failing disk: the checksum is taken anew. */
  damage(name: string, pgno: number): void {
    const db = this.databases.get(name);
    if (!db?.pages.has(pgno)) return;
    db.pages.set(pgno, (db.pages.get(pgno) ?? 0n) ^ 1n);
    db.position = { txid: db.position.txid, checksum: checksumOf(db.pages) };
    db.log = [];
  }

  positions(): ReadonlyMap<string, Position> {
    return this.#where(({ pages }) => pages.size > 0);
  }

  ended(): ReadonlyMap<string, Position> {
    return this.#where(({ pages }) => pages.size === 0);
  }

  /** It may always have changed. */
  get revision(): number {
    return this.#looks++;
  }

  ownership(database: string): DatabaseOwnership | undefined {
    return this.ownerships.get(database);
  }

  onOwnership(listener: (database: string) => void): () => void {
    this.#ownershipListeners.add(listener);
    return () => this.#ownershipListeners.delete(listener);
  }

  async own(database: string, ownership: DatabaseOwnership): Promise<void> {
    if (this.diskIsFull()) throw new LiteFsError('DISK', 'the disk is full');
    this.ownerships.set(database, ownership);
    for (const listener of this.#ownershipListeners) listener(database);
  }

  isAside(database: string): boolean {
    return this.aside.has(database);
  }

  onEntry(listener: (entry: LogEntry) => void): () => void {
    this.#entryListeners.add(listener);
    return () => this.#entryListeners.delete(listener);
  }

  onDrop(listener: (database: string, isInLog: boolean) => void): () => void {
    this.#dropListeners.add(listener);
    return () => this.#dropListeners.delete(listener);
  }

  async readLog(name: string, after: Position): Promise<LogRead> {
    const db = this.databases.get(name);
    if (!db) return { kind: 'unavailable', reason: 'there is no such database' };
    const sizes = { logBytes: 0, databaseBytes: db.pages.size * PAGE_BYTES };
    if (same(after, db.position)) return { kind: 'entries', entries: [], ...sizes };
    const from = db.log.findIndex(({ pre }) => same(pre, after));
    if (from >= 0) return { kind: 'entries', entries: db.log.slice(from, from + 3), ...sizes };
    const known = db.log.some(({ pre }) => pre.txid === after.txid);
    return { kind: 'unavailable', reason: known ? 'another checksum' : 'the log begins later' };
  }

  async pageCount(name: string): Promise<number> {
    return this.databases.get(name)?.pages.size ?? 0;
  }

  async cutPages(name: string, theirs: PeerChecksums | undefined): Promise<PageCut> {
    const db = this.databases.get(name);
    if (!db || db.pages.size === 0) {
      throw new LiteFsError('DATABASE_NOT_FOUND', `there is no ${name}`);
    }
    const base = new Map(db.pages);
    const records = [...base]
      .filter(([pgno, value]) => !theirs || pageSumIn(theirs, pgno) !== pageSum(pgno, value))
      .map(([pgno, value]) => encodeRecord(pgno, value));
    const cut = {
      position: db.position,
      pageSize: PAGE_BYTES,
      pageCount: base.size,
      end: undefined as Position | undefined,
      async nextInto(into: SharedArrayBuffer) {
        await turn();
        const record = records.shift();
        if (!record) cut.end = db.position;
        else new Uint8Array(into).set(record);
        return record?.length ?? 0;
      },
      close() {},
    };
    return cut;
  }

  apply({ database, source }: ReceivedEntry): Promise<Position> {
    return this.#inTurn(() => {
      this.#failIfFull();
      const db = this.databases.get(database) ?? { pages: new Map(), position: ZERO, log: [] };
      const bytes = 'bytes' in source ? source.bytes : fs.readFileSync(source.path);
      if ('path' in source) fs.rmSync(source.path);
      const { pages, post } = follow(db, bytes);
      this.databases.set(database, db);
      this.#append(database, db, pages, post, bytes);
      return post;
    });
  }

  pageChecksums(name: string): Promise<PeerChecksums | undefined> {
    return this.#inTurn(() => {
      const db = this.databases.get(name);
      if (!db || db.pages.size === 0) return undefined;
      const checksums = Buffer.alloc(db.pages.size * 8);
      for (const [pgno, value] of db.pages) {
        checksums.writeBigUInt64BE(pageSum(pgno, value), (pgno - 1) * 8);
      }
      return { pageSize: PAGE_BYTES, checksums };
    });
  }

  beginResync(
    name: string,
    base: { position: Position; pageCount: number; diverged: boolean },
  ): Promise<Resync> {
    return this.#inTurn(() => this.#resync(name, base));
  }

  drop(name: string, { diverged }: { diverged: boolean }): Promise<void> {
    return this.#inTurn(() => {
      if (diverged && this.databases.get(name)?.pages.size) this.kept.push(name);
      this.forget(name);
    });
  }

  #resync(
    name: string,
    base: { position: Position; pageCount: number; diverged: boolean },
  ): Resync {
    const had = this.databases.get(name);
    if (base.diverged) this.kept.push(name);
    const staged: MemoryDatabase = {
      pages: new Map([...(had?.pages ?? [])].filter(([pgno]) => pgno <= base.pageCount)),
      position: base.position,
      log: [],
    };
    return {
      pages: (parts) =>
        this.#inTurn(() => {
          this.#failIfFull();
          const records = Buffer.concat(parts);
          for (let at = 0; at < records.length; at += RECORD_BYTES) {
            const record = Buffer.from(records.subarray(at, at + RECORD_BYTES));
            staged.pages.set(record.readUInt32BE(0), record.readBigUInt64BE(4));
          }
        }),
      entry: ({ source }) =>
        this.#inTurn(() => {
          assert('bytes' in source);
          const { pages, post } = follow(staged, source.bytes, { trusting: true });
          Object.assign(staged, { pages, position: post });
        }),
      finish: (position) =>
        this.#inTurn(() => {
          this.#failIfFull();
          if (!same(staged.position, position) || checksumOf(staged.pages) !== position.checksum) {
            throw new LiteFsError('CHECKSUM_MISMATCH', `${name} is not what was said`);
          }
          this.databases.set(name, staged);
        }),
      abort: async () => {},
    };
  }

  /** As in the engine: what is asked for is done in that order, and not at once. */
  #inTurn<T>(run: () => T): Promise<T> {
    const result = this.#queue.then(turn).then(run);
    this.#queue = result.then(
      () => {},
      () => {},
    );
    return result;
  }

  #append(
    name: string,
    db: MemoryDatabase,
    pages: Map<number, bigint>,
    post: Position,
    bytes: Uint8Array,
  ): void {
    const { txid } = post;
    const entry: LogEntry = {
      database: name,
      minTxid: txid,
      maxTxid: txid,
      pre: db.position,
      post,
      timestampMs: 0,
      source: { bytes },
    };
    Object.assign(db, { pages, position: post });
    db.log.push(entry);
    for (const listener of this.#entryListeners) listener(entry);
    if (pages.size > 0) return;
    for (const listener of this.#dropListeners) listener(name, true);
  }

  #where(wanted: (db: MemoryDatabase) => boolean): ReadonlyMap<string, Position> {
    const some = [...this.databases].filter(([, db]) => wanted(db));
    return new Map(some.map(([name, { position }]) => [name, position]));
  }

  #failIfFull(): void {
    if (this.diskIsFull()) throw new LiteFsError('DISK', 'no space left');
  }
}

const ZERO: Position = { txid: 0, checksum: 0n };

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function same(a: Position, b: Position): boolean {
  return a.txid === b.txid && a.checksum === b.checksum;
}

function pageSum(pgno: number, value: bigint): bigint {
  let x = (value * 0x9e3779b97f4a7c15n + BigInt(pgno) * 0xbf58476d1ce4e5b9n) & MASK;
  x ^= x >> 31n;
  x = (x * 0x94d049bb133111ebn) & MASK;
  return x | FLAG;
}

function pageSumIn({ checksums }: PeerChecksums, pgno: number): bigint | undefined {
  const at = (pgno - 1) * 8;
  return at + 8 <= checksums.length ? Buffer.from(checksums).readBigUInt64BE(at) : undefined;
}

function checksumOf(pages: Pages): bigint {
  if (pages.size === 0) return 0n;
  let sum = 0n;
  for (const [pgno, value] of pages) sum ^= pageSum(pgno, value);
  return sum | FLAG;
}

function encodeRecord(pgno: number, value: bigint): Buffer {
  const record = Buffer.alloc(RECORD_BYTES);
  record.writeUInt32BE(pgno);
  record.writeBigUInt64BE(value, 4);
  return record;
}

/** pre and post, then records. */
function encodeEntry(pre: Position, post: Position, changes: Pages): Buffer {
  const head = Buffer.alloc(32);
  [pre, post].forEach(({ txid, checksum }, i) => {
    head.writeBigUInt64BE(BigInt(txid), i * 16);
    head.writeBigUInt64BE(checksum, i * 16 + 8);
  });
  return Buffer.concat([head, ...[...changes].map(([pgno, value]) => encodeRecord(pgno, value))]);
}

/** `trusting`: during a resync the pages are of a later state than the position, until its end. */
function follow(
  db: MemoryDatabase,
  all: Uint8Array,
  { trusting = false } = {},
): { pages: Map<number, bigint>; post: Position } {
  const bytes = Buffer.from(all);
  const at = (offset: number): Position => ({
    txid: Number(bytes.readBigUInt64BE(offset)),
    checksum: bytes.readBigUInt64BE(offset + 8),
  });
  if (!same(at(0), db.position)) throw new LiteFsError('CHECKSUM_MISMATCH', 'it does not follow');
  const pages = new Map(at(16).checksum === 0n ? [] : db.pages);
  for (let offset = 32; offset < bytes.length; offset += RECORD_BYTES) {
    const pgno = bytes.readUInt32BE(offset);
    // What follows makes a file longer.
    if (pgno === 0) break;
    pages.set(pgno, bytes.readBigUInt64BE(offset + 4));
  }
  const post = at(16);
  if (!trusting && checksumOf(pages) !== post.checksum) {
    throw new LiteFsError('CHECKSUM_MISMATCH', 'it leads elsewhere');
  }
  return { pages, post };
}
