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

/** A resync: what comes of it is handed to `store` once it has begun there. */
interface Running {
  store: Resync | undefined;
}

export class DatabaseReceiver {
  readonly #database: string;
  readonly #store: ReplicationStore;
  readonly #events: ReceiverEvents;
  readonly #log: ReplicationLogger;
  /** The one that frames come of. */
  #resync: Running | undefined;
  /** The same, until the store finishes it. */
  #unfinished: Running | undefined;
  /** Counts how often it all begins anew. What was received before is of no use then, and its failures are none. */
  #epoch = 0;
  /** Everything until the server begins anew is of no use. */
  #failed = false;
  #failures = 0;
  #retry: NodeJS.Timeout | undefined;
  /** The newest entry that was handed to the store, which takes them in order. */
  #lastApply: Promise<void> = Promise.resolve();
  /** Steps of a resync, drops, and the entries after them, one after the other. */
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
    const discard = () => this.#discard(source, bytes);
    if (this.#resync) {
      this.#resyncStep((resync) => resync.entry(entry), bytes, discard);
    } else if (this.#steps > 0) {
      // It follows the end of a resync, or a drop, which the store has not seen yet. None waits for the one before it.
      this.#step(async () => this.#apply(entry, bytes), discard);
    } else if (this.#failed) {
      discard();
    } else {
      this.#apply(entry, bytes);
    }
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
      this.#epoch,
    );
  }

  begin(base: ResyncBegin): void {
    this.#beginAnew();
    const text = base.diverged
      ? `${this.#database} has what the primary does not (${base.reason}): it is kept, and replaced`
      : `${this.#database} is being resynchronised: ${base.reason}`;
    this.#log.info({ database: this.#database, diverged: base.diverged }, text);
    const running: Running = { store: undefined };
    this.#resync = running;
    this.#unfinished = running;
    const epoch = this.#epoch;
    this.#step(async () => {
      running.store = await this.#store.beginResync(this.#database, base);
      if (epoch !== this.#epoch) abort(running);
    });
  }

  pages(records: Buffer): void {
    const bytes = records.length;
    const discard = () => this.#events.released(bytes);
    if (this.#resync) this.#resyncStep((resync) => resync.pages(records), bytes, discard);
    else discard();
  }

  end(position: Position): void {
    if (!this.#resync) return;
    this.#resyncStep(async (resync) => {
      this.#unfinished = undefined;
      await resync.finish(position);
      this.#failures = 0;
      this.#log.info({ database: this.#database }, `${this.#database} is in sync again`);
      this.#events.applied(this.#database, position);
    });
    this.#resync = undefined;
  }

  dropped(diverged: boolean): void {
    this.#beginAnew();
    this.#step(async () => {
      await this.#store.drop(this.#database, { diverged });
      this.#failures = 0;
    });
  }

  /** The connection is gone. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    // One that is whole is finished all the same.
    if (this.#resync) this.#beginAnew();
  }

  /** Resolves when nothing that was received is still on its way into the store. */
  async drained(): Promise<void> {
    await this.#chain;
    await this.#lastApply;
  }

  #beginAnew(): void {
    this.#abort();
    clearTimeout(this.#retry);
    this.#epoch++;
    this.#failed = false;
  }

  #apply(entry: ReceivedEntry, bytes: number): void {
    const epoch = this.#epoch;
    this.#lastApply = this.#store.apply(entry).then(
      (position) => {
        this.#failures = 0;
        this.#events.released(bytes);
        this.#events.applied(this.#database, position);
      },
      (error) => {
        this.#events.released(bytes);
        this.#fail(error, epoch);
      },
    );
  }

  #discard(source: ReceivedEntry['source'], bytes: number): void {
    if ('path' in source) this.#events.discarded(source.path);
    this.#events.released(bytes);
  }

  #resyncStep(run: (resync: Resync) => Promise<void>, bytes = 0, discard = () => {}): void {
    const running = this.#resync;
    this.#step(async () => {
      try {
        // It has begun: otherwise nothing more is done in this epoch.
        await run(running?.store as Resync);
      } finally {
        this.#events.released(bytes);
      }
    }, discard);
  }

  /** Does it after all that came before it, or `discard` when it is of no use any more. */
  #step(run: () => Promise<void>, discard = () => {}): void {
    const epoch = this.#epoch;
    this.#steps++;
    this.#chain = this.#chain
      .then(() => {
        if (epoch === this.#epoch && !this.#failed) return run();
        discard();
      })
      .catch((error) => this.#fail(error, epoch))
      .finally(() => {
        this.#steps--;
      });
  }

  #abort(): void {
    const unfinished = this.#unfinished;
    this.#resync = undefined;
    this.#unfinished = undefined;
    if (unfinished) abort(unfinished);
  }

  /** Logs it once, and asks anew after a while. */
  #fail(error: unknown, epoch: number): void {
    if (!this.#closed && !(error instanceof LiteFsError)) throw error;
    if (this.#failed || epoch !== this.#epoch) return;
    this.#abort();
    this.#failed = true;
    if (this.#closed) return;
    this.#failures++;
    const { code, message } = error as LiteFsError;
    const pages = code !== 'DISK';
    this.#log.error({ database: this.#database, code }, message);
    const wait = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** (this.#failures - 1));
    // The first time it is most likely over at once: what differs is sent.
    this.#retry = setTimeout(
      () => {
        if (!pages) this.#beginAnew();
        const position = this.#store.positions().get(this.#database);
        this.#events.request(this.#database, position ?? { txid: 0, checksum: 0n }, pages);
      },
      this.#failures === 1 && pages ? 0 : wait,
    );
  }
}

/** Has the store throw away what it has staged. It may have done so. */
function abort({ store }: Running): void {
  store?.abort().catch(() => {});
}
