/**
 * One database on a replica: applies what comes for it, in order. When that fails it asks for the pages in which
 * it differs, and again, less and less often; other databases go on meanwhile.
 */
import { LiteFsError } from '../errors.ts';
import { formatPosition, type Position } from '../ltx/position.ts';
import type { ResyncBegin } from './messages.ts';
import type { ReplicationLogger } from './parts.ts';
import type { ReceivedEntry, ReplicationStore, Resync } from './store.ts';

const RETRY_MS_MIN = 1000;
const RETRY_MS_MAX = 60_000;

export interface ReceiverEvents {
  applied(database: string, position: Position): void;
  /** Ask the server to begin anew, from our position; `pages`: with a resync. */
  request(database: string, position: Position, pages: boolean): void;
  /** What was taken in is done with (for flow control). */
  released(bytes: number): void;
  /** A spool file is of no use. */
  discarded(path: string): void;
}

export class DatabaseReceiver {
  readonly #database: string;
  readonly #store: ReplicationStore;
  readonly #events: ReceiverEvents;
  readonly #log: ReplicationLogger;
  #resync: Promise<Resync> | undefined;
  /** Everything until the server begins anew is of no use. */
  #failed = false;
  #failures = 0;
  #retry: NodeJS.Timeout | undefined;
  /** The newest entry that was handed to the store, which takes them in order. */
  #lastApply: Promise<void> = Promise.resolve();
  /** Steps of a resync, one after the other. */
  #chain: Promise<void> = Promise.resolve();
  /** How many of them are not done. */
  #steps = 0;
  #closed = false;

  constructor(
    database: string,
    store: ReplicationStore,
    log: ReplicationLogger,
    events: ReceiverEvents,
  ) {
    this.#database = database;
    this.#store = store;
    this.#log = log;
    this.#events = events;
  }

  /** `bytes`: for flow control. */
  entry(source: ReceivedEntry['source'], bytes: number): void {
    const entry: ReceivedEntry = { database: this.#database, source };
    if (this.#resync) {
      this.#step((resync) => resync.entry(entry), bytes, source);
      return;
    }
    if (this.#failed) {
      this.#discard(source);
      this.#events.released(bytes);
      return;
    }
    this.#lastApply = this.#store.apply(entry).then(
      (position) => {
        this.#failures = 0;
        this.#events.released(bytes);
        this.#events.applied(this.#database, position);
      },
      (error) => {
        this.#events.released(bytes);
        this.#fail(error);
      },
    );
  }

  /** The primary's position: at the same transaction, both must have the same content. */
  compare(theirs: Position): void {
    const ours = this.#store.positions().get(this.#database);
    if (
      this.#resync ||
      this.#steps > 0 ||
      ours?.txid !== theirs.txid ||
      ours.checksum === theirs.checksum
    )
      return;
    this.#fail(
      new LiteFsError(
        'CHECKSUM_MISMATCH',
        `${this.#database} at ${formatPosition(ours)} is not what the primary has: ${formatPosition(theirs)}`,
      ),
    );
  }

  begin(base: ResyncBegin): void {
    this.#abort();
    this.#failed = false;
    const text = base.diverged
      ? `${this.#database} has what the primary does not (${base.reason}): it is kept, and replaced`
      : `${this.#database} is being resynchronised: ${base.reason}`;
    this.#log.info({ database: this.#database, diverged: base.diverged }, text);
    this.#resync = this.#store.beginResync(this.#database, base);
    this.#chain = this.#resync.then(
      () => {},
      (error) => this.#fail(error),
    );
  }

  pages(records: Buffer): void {
    if (this.#resync) this.#step((resync) => resync.pages(records), records.length);
    else this.#events.released(records.length);
  }

  end(position: Position): void {
    if (!this.#resync) return;
    this.#step(async (resync) => {
      await resync.finish(position);
      this.#failures = 0;
      this.#log.info({ database: this.#database }, `${this.#database} is in sync again`);
      this.#events.applied(this.#database, position);
    }, 0);
    this.#resync = undefined;
  }

  dropped(diverged: boolean): void {
    this.#abort();
    this.#chain = this.#chain
      .then(() => this.#store.drop(this.#database, { diverged }))
      .catch((error) => this.#fail(error));
  }

  /** The connection is gone. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#abort();
  }

  /** Resolves when nothing that was received is still on its way into the store. */
  async drained(): Promise<void> {
    await Promise.all([this.#lastApply, this.#chain]);
  }

  #discard(source: ReceivedEntry['source']): void {
    if ('path' in source) this.#events.discarded(source.path);
  }

  #step(
    run: (resync: Resync) => Promise<void>,
    bytes: number,
    source?: ReceivedEntry['source'],
  ): void {
    const pending = this.#resync as Promise<Resync>;
    let isTaken = false;
    this.#steps++;
    this.#chain = this.#chain
      .then(async () => {
        if (this.#failed) return;
        const resync = await pending;
        isTaken = true;
        await run(resync);
      })
      .catch((error) => this.#fail(error))
      .finally(() => {
        if (source && !isTaken) this.#discard(source);
        this.#steps--;
        this.#events.released(bytes);
      });
  }

  #abort(): void {
    const pending = this.#resync;
    this.#resync = undefined;
    pending?.then((resync) => resync.abort()).catch(() => {});
  }

  /** Logs it once, and asks anew after a while. */
  #fail(error: unknown): void {
    if (this.#closed || this.#failed) return;
    if (!(error instanceof LiteFsError)) throw error;
    this.#abort();
    this.#failed = true;
    this.#failures++;
    const pages = error.code !== 'DISK';
    this.#log.error({ database: this.#database, code: error.code }, error.message);
    const wait = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** (this.#failures - 1));
    // The first time it is most likely over at once: what differs is sent.
    this.#retry = setTimeout(
      () => {
        if (!pages) this.#failed = false;
        const position = this.#store.positions().get(this.#database);
        this.#events.request(this.#database, position ?? { txid: 0, checksum: 0n }, pages);
      },
      this.#failures === 1 && pages ? 0 : wait,
    );
  }
}
