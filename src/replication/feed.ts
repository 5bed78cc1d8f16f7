/**
 * Keeps one database of one replica up to date: from the log as long as the log has it, by a resync when it
 * has not, then each entry as it comes. Every replica and database has a feed of its own, so a large
 * transfer of one delays no other.
 */
import fs from 'node:fs';
import { type Position, samePosition } from '../ltx/position.ts';
import { nameText } from '../store/layout.ts';
import type { LogEntry } from '../store/log-entry.ts';
import { ChecksumReceiver } from './checksum-receiver.ts';
import {
  type decodeChecksums,
  encodeEntryBegin,
  encodeName,
  encodeNamed,
  encodeNamedPosition,
  encodeResyncBegin,
} from './messages.ts';
import type { PageCut, ReplicationStore } from './store.ts';
import type { FrameTransport } from './transport.ts';

/** What is read from the log at once. */
const READ_BYTES = 1 << 20;
/** Entries up to this go in one frame. */
const WHOLE_ENTRY_BYTES_MAX = 1 << 20;
const CHUNK_BYTES = 256 << 10;
const CHUNK_BUFFERS = 8;
const PAGES_BYTES = 1 << 20;
/** A replica that has nothing yet gets pages rather than a log of this size and more, unless that is much shorter. */
const LONG_LOG_BYTES = 8 << 20;
const LOG_SHARE_MAX = 0.5;
/** More than this unsent: live entries are left to the log. */
const LIVE_PENDING_BYTES_MAX = 1 << 20;

export interface FeedEvents {
  /** A resync begins or has ended: one line in the log. */
  resync(text: string, fields: Record<string, unknown>): void;
  /** The database was dropped, and the log does not lead the replica there. `diverged`: it may have what we never had. */
  gone(diverged: boolean): void;
  /** The feed cannot go on: the connection must end. */
  failed(error: Error): void;
}

export class DatabaseFeed {
  readonly #database: string;
  readonly #store: ReplicationStore;
  readonly #transport: FrameTransport;
  readonly #events: FeedEvents;
  /** What the replica has when all that was sent has been applied. */
  #position: Position;
  /** Everything known has been sent: entries can go out as they come. */
  #live = false;
  #more: (() => void) | undefined;
  #behind = true;
  #closed = false;
  /** The replica asked for pages, whatever the log has. */
  #resyncAsked = false;
  /** The replica asked for something else meanwhile: what is being sent is of no use. */
  #rewound = false;
  #isResyncing = false;
  /** What the replica has is known to be from our history. */
  #isOurs = false;
  #checksums: { receiver: ChecksumReceiver; done: (theirs: Theirs) => void } | undefined;

  constructor(parts: {
    database: string;
    position: Position;
    store: ReplicationStore;
    transport: FrameTransport;
    events: FeedEvents;
  }) {
    this.#database = parts.database;
    this.#position = parts.position;
    this.#store = parts.store;
    this.#transport = parts.transport;
    this.#events = parts.events;
    this.#run().catch((error) => {
      if (this.#closed) return;
      // What is read of a database that goes at that moment fails.
      if (this.#exists) this.#events.failed(error as Error);
      else this.#gone();
    });
  }

  /** The position up to which everything has been sent. */
  get position(): Position {
    return this.#position;
  }

  /** Whether pages are being sent, behind which the log leads on only if the database stays. */
  get isResyncing(): boolean {
    return this.#isResyncing;
  }

  /** Whether the replica may have what we never had. */
  get isDiverged(): boolean {
    return !this.#isOurs && this.#position.checksum !== 0n;
  }

  close(): void {
    this.#closed = true;
    this.#wake();
    this.#checksums?.done({ pageSize: 0, checksums: Buffer.alloc(0) });
  }

  /** A new entry of this database. */
  entry(entry: LogEntry): void {
    const { source } = entry;
    const follows =
      entry.pre.txid === this.#position.txid && entry.pre.checksum === this.#position.checksum;
    const sendNow =
      this.#live &&
      follows &&
      'bytes' in source &&
      this.#transport.pendingBytes < LIVE_PENDING_BYTES_MAX;
    if (sendNow) {
      this.#tell('ENTRY', ...encodeNamed(this.#database, source.bytes));
      this.#position = entry.post;
      return;
    }
    this.#behind = true;
    this.#wake();
  }

  /** An entry that the replica has made itself; one that cannot be left out it knows as its own. */
  passOver(entry: LogEntry): void {
    const { txid, checksum } = this.#position;
    const follows = entry.pre.txid === txid && entry.pre.checksum === checksum;
    if (this.#live && follows) this.#position = entry.post;
    else this.entry(entry);
  }

  /** Where the database is now, maybe without an entry: this node may have been resynchronised itself. */
  moved(position: Position): void {
    if (samePosition(position, this.#position)) return;
    this.#behind = true;
    this.#wake();
  }

  /** The replica could not apply what it got, and is at this position. `pages`: it wants a resync. */
  requested(position: Position, pages: boolean): void {
    this.#position = position;
    this.#isOurs = false;
    this.#resyncAsked ||= pages;
    this.#rewound = true;
    this.#behind = true;
    this.#wake();
  }

  /** A part of the replica's page checksums, which were asked for. */
  checksums(part: ReturnType<typeof decodeChecksums>): void {
    const pending = this.#checksums;
    if (!pending) return;
    pending.receiver.add(part.bytes);
    if (!part.last) return;
    this.#checksums = undefined;
    pending.done({ pageSize: part.pageSize, checksums: pending.receiver.all() });
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      this.#live = false;
      this.#behind = false;
      this.#rewound = false;
      const isAsked = this.#resyncAsked;
      this.#resyncAsked = false;
      if (isAsked && !this.#exists) {
        this.#gone();
        return;
      }
      if (isAsked) {
        await this.#resync('the replica asked for it');
        continue;
      }
      if (this.#position.txid === 0 && !this.#exists) {
        // Neither side has it.
        await this.#untilMore();
        continue;
      }
      const read = await this.#store.readLog(this.#database, this.#position, READ_BYTES);
      if (this.#closed) return;
      if (this.#rewound) continue;
      this.#isOurs = read.kind === 'entries';
      if (read.kind === 'unavailable') {
        if (!this.#exists) {
          this.#gone();
          return;
        }
        await this.#resync(read.reason);
      } else if (this.#position.txid === 0 && this.#exists && isLong(read)) {
        await this.#resync('it is new there');
      } else if (read.entries.length > 0) {
        await this.#sendAll(read.entries);
      } else {
        this.#live = !this.#behind;
        await this.#untilMore();
      }
    }
  }

  /** Until there is more than was known when it was looked for. */
  async #untilMore(): Promise<void> {
    if (this.#behind || this.#closed) return;
    await new Promise<void>((resolve) => {
      this.#more = resolve;
    });
  }

  get #exists(): boolean {
    return this.#store.positions().has(this.#database);
  }

  #gone(): void {
    this.#events.gone(this.isDiverged);
  }

  get #isOver(): boolean {
    return this.#closed || this.#rewound;
  }

  #wake(): void {
    this.#more?.();
    this.#more = undefined;
  }

  /** Nothing that does not follow from what the replica has been told last: DROPPED, or the answer to its request. */
  #tell(...frame: Parameters<FrameTransport['send']>): Promise<void> | undefined {
    return this.#isOver ? undefined : this.#transport.send(...frame);
  }

  async #sendAll(entries: readonly LogEntry[]): Promise<void> {
    const open = new Map<string, fs.promises.FileHandle>();
    try {
      for (const entry of entries) {
        await this.#send(entry, open);
        if (this.#isOver) return;
        this.#position = entry.post;
      }
    } catch (error) {
      // Merged with others or trimmed since it was looked up: the log is read again.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    } finally {
      for (const handle of open.values()) await handle.close();
    }
  }

  async #send(entry: LogEntry, open: Map<string, fs.promises.FileHandle>): Promise<void> {
    const { source } = entry;
    if ('bytes' in source) {
      await this.#tell('ENTRY', ...encodeNamed(this.#database, source.bytes));
      return;
    }
    let handle = open.get(source.path);
    if (!handle) {
      handle = await fs.promises.open(source.path, 'r');
      open.set(source.path, handle);
    }
    if (source.length <= WHOLE_ENTRY_BYTES_MAX) {
      const bytes = Buffer.allocUnsafe(source.length);
      await readInto(handle, bytes, source.offset);
      await this.#tell('ENTRY', ...encodeNamed(this.#database, bytes));
      return;
    }
    await this.#tell('ENTRY_BEGIN', encodeEntryBegin(this.#database, source.length));
    await this.#sendChunks(handle, source.offset, source.length);
    this.#tell('ENTRY_END', encodeName(this.#database));
  }

  /** Through a few buffers that are used again and again: a gigabyte of garbage is slow to go. */
  async #sendChunks(handle: fs.promises.FileHandle, offset: number, length: number): Promise<void> {
    const buffers = Array.from({ length: CHUNK_BUFFERS }, () =>
      Buffer.allocUnsafeSlow(CHUNK_BYTES),
    );
    for (let at = 0, count = 0; at < length && !this.#isOver; at += CHUNK_BYTES, count++) {
      if (count > 0 && count % CHUNK_BUFFERS === 0) await this.#transport.drained();
      const into = buffers[count % CHUNK_BUFFERS].subarray(0, Math.min(CHUNK_BYTES, length - at));
      await readInto(handle, into, offset + at);
      await this.#tell('ENTRY_CHUNK', ...encodeNamed(this.#database, into));
    }
    await this.#transport.drained();
  }

  /** Sends the pages that differ, then what was committed meanwhile. */
  async #resync(reason: string): Promise<void> {
    this.#isResyncing = true;
    try {
      await this.#sendResync(reason);
    } finally {
      this.#isResyncing = false;
    }
  }

  async #sendResync(reason: string): Promise<void> {
    const startedMs = performance.now();
    const theirs = await this.#askChecksums();
    if (this.#isOver) return;
    const had = this.#position;
    const comparable = theirs.checksums.length > 0;
    const cut = await this.#store.cutPages(this.#database, comparable ? theirs : undefined);
    try {
      const diverged = isDiverged(had, cut.position, reason);
      this.#tell(
        'RESYNC_BEGIN',
        encodeResyncBegin({ database: this.#database, ...cutFacts(cut), diverged, reason }),
      );
      const bytes = await this.#sendPages(cut);
      if (this.#isOver || !cut.end) return;
      await this.#sendUpTo(cut.position, cut.end);
      if (this.#isOver) return;
      this.#isOurs = true;
      this.#tell('RESYNC_END', encodeNamedPosition(this.#database, this.#position));
      const seconds = Math.round(performance.now() - startedMs) / 1000;
      this.#events.resync(
        `sent ${comparable ? 'the pages that differ' : 'all pages'} of ${nameText(this.#database)} (${reason})`,
        { database: nameText(this.#database), bytes, seconds, diverged },
      );
    } finally {
      cut.close();
    }
  }

  /** Fills one part of shared memory while the other is on its way. Resolves with how much there was. */
  async #sendPages(cut: PageCut): Promise<number> {
    const parts = [new SharedArrayBuffer(PAGES_BYTES), new SharedArrayBuffer(PAGES_BYTES)];
    let sent: Promise<void> | undefined;
    let filling = cut.nextInto(parts[0]);
    let bytes = 0;
    for (let turn = 0; ; turn++) {
      const length = await filling;
      if (length === 0 || this.#isOver) return bytes;
      bytes += length;
      await sent;
      filling = cut.nextInto(parts[(turn + 1) % 2]);
      // What it rejects with is found above, unless this ends before.
      filling.catch(() => {});
      const pages = Buffer.from(parts[turn % 2], 0, length);
      this.#tell('PAGES', ...encodeNamed(this.#database, pages));
      sent = this.#transport.drained();
    }
  }

  /** The entries after a position, to the end of the cut at least. */
  async #sendUpTo(from: Position, end: Position): Promise<void> {
    this.#position = from;
    while (this.#position.txid < end.txid && !this.#isOver) {
      const read = await this.#store.readLog(this.#database, this.#position, READ_BYTES);
      if (read.kind === 'unavailable') {
        throw new Error(
          `the log of ${this.#database} lost its end during a resync: ${read.reason}`,
        );
      }
      await this.#sendAll(read.entries);
    }
  }

  async #askChecksums(): Promise<Theirs> {
    const receiver = new ChecksumReceiver(await this.#store.pageCount(this.#database));
    if (this.#isOver) return { pageSize: 0, checksums: receiver.all() };
    return new Promise((resolve) => {
      this.#checksums = { receiver, done: resolve };
      this.#tell('CHECKSUMS_ASK', encodeName(this.#database));
    });
  }
}

interface Theirs {
  readonly pageSize: number;
  /** u64 big-endian each, page 1 first; empty when it has no such database. */
  readonly checksums: Buffer;
}

function cutFacts(cut: PageCut) {
  const { position, pageSize, pageCount } = cut;
  return { position, pageSize, pageCount };
}

/** Each page of a log is stored, read back, appended to the -wal and copied to the database file; of a cut only the last. */
function isLong({ logBytes, databaseBytes }: { logBytes: number; databaseBytes: number }): boolean {
  return logBytes >= LONG_LOG_BYTES && logBytes >= databaseBytes * LOG_SHARE_MAX;
}

/**
 * Whether what the replica has is known not to be in our history: it is ahead of us, or has another content at a
 * transaction that we know. That the log does not reach back proves nothing.
 */
function isDiverged(theirs: Position, ours: Position, reason: string): boolean {
  // There is nothing to lose where there is no database.
  if (theirs.checksum === 0n) return false;
  if (theirs.txid > ours.txid) return true;
  if (theirs.txid === ours.txid) return theirs.checksum !== ours.checksum;
  return reason.includes('another checksum');
}

async function readInto(
  handle: fs.promises.FileHandle,
  into: Buffer,
  offset: number,
): Promise<void> {
  const { bytesRead } = await handle.read(into, 0, into.length, offset);
  if (bytesRead === into.length) return;
  throw Object.assign(new Error('a file of the log is shorter than it was'), { code: 'ENOENT' });
}
