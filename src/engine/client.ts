/**
 * The engine as the main thread sees it: requests with promises, news as events, and the
 * ReplicationStore that replication works on.
 */
import fs from 'node:fs';
import type { MessagePort } from 'node:worker_threads';
import { errorText, LiteFsError } from '../errors.ts';
import type { Position } from '../ltx/position.ts';
import type {
  LogRead,
  PageCut,
  PeerChecksums,
  ReceivedEntry,
  ReplicationStore,
  Resync,
} from '../replication/store.ts';
import type { DatabaseOwnership } from '../store/ownership.ts';
import type { DatabaseStatus } from './core/database.ts';
import type {
  EngineCalls,
  EngineNews,
  EngineRequest,
  Pinner,
  WireEntry,
  WireError,
} from './protocol.ts';

type Call = keyof EngineCalls;
type Args<K extends Call> = EngineCalls[K]['args'];
type Result<K extends Call> = EngineCalls[K]['result'];

interface Pending {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** How the client reaches the engine. */
export interface EnginePort {
  readonly port: MessagePort;
  /** Wakes the engine from its wait. */
  wake(): void;
}

export class EngineClient implements ReplicationStore {
  readonly spoolDir: string;
  /**
   * Has the primary commit a transaction that an app made here under the halt lock. Rejects when it does not; the
   * source may be read until then.
   */
  committer: (entry: ReceivedEntry) => Promise<void> = async () => {
    throw new LiteFsError('WRONG_STATE', 'nobody holds the halt lock');
  };
  readonly #link: EnginePort;
  readonly #pending = new Map<number, Pending>();
  readonly #positions = new Map<string, Position>();
  readonly #ended = new Map<string, Position>();
  readonly #ownerships = new Map<string, DatabaseOwnership>();
  #revision = 0;
  readonly #statuses = new Map<string, DatabaseStatus>();
  readonly #aside = new Set<string>();
  readonly #entryListeners = new Set<(entry: WireEntry) => void>();
  readonly #positionListeners = new Set<() => void>();
  readonly #correctionListeners = new Set<(database: string) => void>();
  readonly #ownershipListeners = new Set<(database: string) => void>();
  readonly #dropListeners = new Set<(database: string, isInLog: boolean) => void>();
  #nextId = 1;
  #dead: Error | undefined;

  constructor(link: EnginePort, spoolDir: string) {
    this.#link = link;
    this.spoolDir = spoolDir;
  }

  /** Sends a request. Rejects with the engine's error, or when the engine has ended. */
  call<K extends Call>(call: K, args: Args<K>, transfer: ArrayBuffer[] = []): Promise<Result<K>> {
    if (this.#dead) return Promise.reject(this.#dead);
    const id = this.#nextId++;
    const request = { id, call, args } as EngineRequest;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.#link.port.postMessage(request, transfer);
      this.#link.wake();
    });
  }

  /** As call(), but nothing is asked of an engine that has ended. */
  async callIfAlive<K extends Call>(call: K, args: Args<K>): Promise<void> {
    if (!this.#dead) await this.call(call, args);
  }

  /** Takes a piece of news that is about databases or an answer; false when it is for others. */
  accept(news: EngineNews): boolean {
    switch (news.kind) {
      case 'reply':
        this.#settle(news.id, news.error, news.result);
        return true;
      case 'entry':
        this.#moved(news.entry.database, news.entry.post);
        for (const listener of this.#entryListeners) listener(news.entry);
        return true;
      case 'position':
        this.#moved(news.database, news.position);
        for (const listener of this.#correctionListeners) listener(news.database);
        return true;
      case 'dropped': {
        const end = this.#positions.get(news.database);
        if (news.isInLog && end) this.#ended.set(news.database, end);
        else this.#ended.delete(news.database);
        this.#positions.delete(news.database);
        this.#revision++;
        for (const listener of this.#positionListeners) listener();
        this.#statuses.delete(news.database);
        this.#ownerships.delete(news.database);
        for (const listener of this.#dropListeners) listener(news.database, news.isInLog);
        return true;
      }
      case 'ownership':
        this.#ownerships.set(news.database, news.ownership);
        for (const listener of this.#ownershipListeners) listener(news.database);
        return true;
      case 'commit':
        this.#ask(news.database, news.commit, news.source);
        return true;
      case 'status':
        this.#statuses.set(news.database, news.status);
        return true;
      default:
        return false;
    }
  }

  /** Takes over where the databases stand at start, and which are in quarantine. */
  adopt(
    databases: readonly { name: string; position: Position }[],
    aside: readonly string[],
  ): void {
    for (const { name, position } of databases) {
      const isEnded = position.txid > 0 && position.checksum === 0n;
      (isEnded ? this.#ended : this.#positions).set(name, position);
    }
    this.#revision++;
    for (const name of aside) this.#aside.add(name);
  }

  /** Rejects all that is under way: the engine has ended. */
  fail(error: Error): void {
    this.#dead = error;
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }

  /** Databases that are not well, and why. */
  statuses(): ReadonlyMap<string, DatabaseStatus> {
    return this.#statuses;
  }

  positions(): ReadonlyMap<string, Position> {
    return this.#positions;
  }

  ended(): ReadonlyMap<string, Position> {
    return this.#ended;
  }

  get revision(): number {
    return this.#revision;
  }

  isAside(database: string): boolean {
    return this.#aside.has(database);
  }

  onEntry(listener: (entry: WireEntry) => void): () => void {
    this.#entryListeners.add(listener);
    return () => this.#entryListeners.delete(listener);
  }

  /** Calls back when some database has another position, or none any more. Returns the undo. */
  onPosition(listener: () => void): () => void {
    this.#positionListeners.add(listener);
    return () => this.#positionListeners.delete(listener);
  }

  /** Calls back when a position is another without a transaction: after a resync, or when pages were found wrong. */
  onCorrection(listener: (database: string) => void): () => void {
    this.#correctionListeners.add(listener);
    return () => this.#correctionListeners.delete(listener);
  }

  ownership(database: string): DatabaseOwnership | undefined {
    return this.#ownerships.get(database);
  }

  onOwnership(listener: (database: string) => void): () => void {
    this.#ownershipListeners.add(listener);
    return () => this.#ownershipListeners.delete(listener);
  }

  async own(database: string, ownership: DatabaseOwnership): Promise<void> {
    await this.call('own', { database, ownership });
  }

  onDrop(listener: (database: string, isInLog: boolean) => void): () => void {
    this.#dropListeners.add(listener);
    return () => this.#dropListeners.delete(listener);
  }

  /** Has the log keep what follows these transactions, as far as its own bounds go; nothing else for `by` any more. */
  pin(by: Pinner, txids: ReadonlyMap<string, number>): void {
    this.callIfAlive('pin', { by, txids }).catch(() => {});
  }

  readLog(database: string, after: Position, maxBytes: number): Promise<LogRead> {
    return this.call('readLog', { database, after, maxBytes });
  }

  pageCount(database: string): Promise<number> {
    return this.call('pageCount', { database });
  }

  async cutPages(database: string, theirs: PeerChecksums | undefined): Promise<PageCut> {
    const begun = await this.call('cutBegin', { database, theirs });
    const { cut, position, pageSize, pageCount } = begun;
    let end: Position | undefined;
    return {
      position,
      pageSize,
      pageCount,
      nextInto: async (into) => {
        const step = await this.call('cutInto', { cut, into });
        if ('bytes' in step) return step.bytes;
        end = step.end;
        return 0;
      },
      get end() {
        return end;
      },
      close: () => {
        this.call('cutClose', { cut }).catch(() => {});
      },
    };
  }

  async apply(entry: ReceivedEntry): Promise<Position> {
    const { source, transfer } = ownSource(entry.source);
    try {
      return await this.call('apply', { database: entry.database, source }, transfer);
    } finally {
      // The log has a name of its own for it.
      await removeSpool(source);
    }
  }

  pageChecksums(
    database: string,
  ): Promise<{ pageSize: number; checksums: Uint8Array } | undefined> {
    return this.call('pageChecksums', { database });
  }

  async beginResync(
    database: string,
    base: { position: Position; pageSize: number; pageCount: number; diverged: boolean },
  ): Promise<Resync> {
    const { resync } = await this.call('resyncBegin', { database, ...base });
    // One for all: a buffer made for each megabyte of a large database would keep the garbage collector busy.
    let shared = new SharedArrayBuffer(0);
    return {
      pages: async (records) => {
        const bytes = records.reduce((sum, { length }) => sum + length, 0);
        if (shared.byteLength < bytes) shared = new SharedArrayBuffer(bytes);
        const into = new Uint8Array(shared);
        let at = 0;
        for (const part of records) {
          into.set(part, at);
          at += part.length;
        }
        await this.call('resyncPages', { resync, records: shared, bytes });
      },
      entry: async (entry) => {
        const { source, transfer } = ownSource(entry.source);
        try {
          await this.call('resyncEntry', { resync, source }, transfer);
        } finally {
          await removeSpool(source);
        }
      },
      finish: async (position) => {
        await this.call('resyncFinish', { resync, position });
      },
      abort: async () => {
        await this.call('resyncAbort', { resync });
      },
    };
  }

  async drop(database: string, options: { diverged: boolean }): Promise<void> {
    await this.call('drop', { database, diverged: options.diverged });
  }

  /** Hands an app's transaction on, and tells the engine what has become of it. */
  #ask(database: string, commit: number, source: ReceivedEntry['source']): void {
    const reply = (error?: string) => {
      this.callIfAlive('haltAnswer', { database, commit, error }).catch(() => {});
    };
    this.committer({ database, source }).then(
      () => reply(),
      (error) => reply(errorText(error)),
    );
  }

  #moved(database: string, position: Position): void {
    this.#positions.set(database, position);
    this.#ended.delete(database);
    this.#revision++;
    this.#aside.delete(database);
    for (const listener of this.#positionListeners) listener();
  }

  #settle(id: number, error: WireError | undefined, result: unknown): void {
    const pending = this.#pending.get(id);
    if (!pending) return;
    this.#pending.delete(id);
    if (error) pending.reject(fromWire(error));
    else pending.resolve(result);
  }
}

/** What the disk does not let us remove goes at the next start (store/spool.ts). */
async function removeSpool(source: ReceivedEntry['source']): Promise<void> {
  if ('path' in source) await fs.promises.rm(source.path, { force: true }).catch(() => {});
}

/** A copy that can be given away: a view of a larger buffer would be sent with all of it. */
function ownSource(source: ReceivedEntry['source']) {
  if ('path' in source) return { source, transfer: [] };
  const bytes = new Uint8Array(source.bytes);
  return { source: { bytes }, transfer: [bytes.buffer] };
}

/** An error as it crosses between threads. */
export function toWire(error: unknown): WireError {
  if (error instanceof LiteFsError) {
    return { code: error.code, message: error.message, hint: error.hint, stack: error.stack };
  }
  const plain = error instanceof Error ? error : new Error(String(error));
  return { code: undefined, message: plain.message, hint: undefined, stack: plain.stack };
}

/** The inverse of toWire. */
export function fromWire(wire: WireError): Error {
  if (wire.code) return new LiteFsError(wire.code, wire.message, { hint: wire.hint });
  const error = new Error(wire.message);
  if (wire.stack) error.stack = wire.stack;
  return error;
}
