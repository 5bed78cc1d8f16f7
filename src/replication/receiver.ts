/**
 * One database on a replica: applies what comes for it, in order. When that fails it asks for the pages in which
 * it differs, and again, less and less often; other databases go on meanwhile.
 */
import { isDiskFault, LiteFsError } from '../errors.ts';
import { formatPosition, type Position, ZERO_POSITION } from '../ltx/position.ts';
import { nameText } from '../store/layout.ts';
import type { DatabaseOwnership } from '../store/ownership.ts';
import { bytesOf, type ResyncBegin } from './messages.ts';
import type { ReplicationLogger } from './parts.ts';
import type { ReceivedEntry, ReplicationStore, Resync } from './store.ts';

const RETRY_MS_MIN = 1000;
const RETRY_MS_MAX = 60_000;

export interface ReceiverEvents {
  applied(database: string, position: Position): void;
  /**
   * Ask the server to begin anew, from our position; `pages`: with a resync. Returns whether it says when it does: until
   * then come frames that do not follow from that position.
   */
  request(database: string, position: Position, pages: boolean): boolean;
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
  /** The same, for people. */
  readonly #name: string;
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
  /** Requests that the server will answer. */
  #unanswered = 0;
  #retry: NodeJS.Timeout | undefined;
  /** The newest entry that was handed to the store, which takes them in order. */
  #lastApply: Promise<void> = Promise.resolve();
  /** Steps of a resync, drops, and the entries after them, one after the other. */
  #chain: Promise<void> = Promise.resolve();
  /** How many of them are not done. */
  #steps = 0;
  #applies = 0;
  /** Bytes that were taken in and not released. */
  #account = { bytes: 0 };
  #closed = false;

  constructor(
    database: string,
    store: ReplicationStore,
    log: ReplicationLogger,
    events: ReceiverEvents,
  ) {
    this.#database = database;
    this.#name = nameText(database);
    this.#store = store;
    this.#log = log;
    this.#events = events;
  }

  /** `bytes`: for flow control. */
  entry(source: ReceivedEntry['source'], bytes: number): void {
    const entry: ReceivedEntry = { database: this.#database, source };
    const release = this.#take(bytes);
    const discard = () => {
      if ('path' in source) this.#events.discarded(source.path);
      release();
    };
    if (this.#failed || this.#unanswered > 0) {
      discard();
    } else if (this.#resync) {
      this.#resyncStep((resync) => resync.entry(entry), release, discard);
    } else if (this.#steps > 0) {
      // It follows the end of a resync, or a drop, which the store has not seen yet. None waits for the one before it.
      this.#step(async () => this.#apply(entry, release), discard);
    } else {
      this.#apply(entry, release);
    }
  }

  /** The primary's position: at the same transaction, both must have the same content. */
  compare(theirs: Position): void {
    const ours = this.#store.positions().get(this.#database);
    if (
      this.#resync ||
      this.#steps > 0 ||
      this.#unanswered > 0 ||
      ours?.txid !== theirs.txid ||
      ours.checksum === theirs.checksum
    )
      return;
    this.#fail(
      new LiteFsError(
        'CHECKSUM_MISMATCH',
        `${this.#name} at ${formatPosition(ours)} is not what the primary has: ${formatPosition(theirs)}`,
      ),
      this.#epoch,
    );
  }

  begin(base: ResyncBegin): void {
    if (this.#unanswered > 0) return;
    this.#beginAnew();
    const text = base.diverged
      ? `${this.#name} has what the primary does not (${base.reason}): it is kept, and replaced`
      : `${this.#name} is being resynchronised: ${base.reason}`;
    this.#log.info({ database: this.#name, diverged: base.diverged }, text);
    const running: Running = { store: undefined };
    this.#resync = running;
    this.#unfinished = running;
    const epoch = this.#epoch;
    this.#step(async () => {
      running.store = await this.#store.beginResync(this.#database, base);
      if (epoch !== this.#epoch) abort(running);
    });
  }

  /** Records of a page number and the page, in pieces of any size. */
  pages(records: readonly Uint8Array[]): void {
    const release = this.#take(bytesOf(records));
    if (this.#resync) this.#resyncStep((resync) => resync.pages(records), release, release);
    else release();
  }

  end(position: Position): void {
    if (!this.#resync) return;
    this.#resyncStep(async (resync) => {
      this.#unfinished = undefined;
      await resync.finish(position);
      this.#failures = 0;
      this.#log.info({ database: this.#name }, `${this.#name} is in sync again`);
      this.#events.applied(this.#database, position);
    });
    this.#resync = undefined;
  }

  dropped(diverged: boolean): void {
    if (this.#unanswered > 0) return;
    this.#beginAnew();
    this.#step(async () => {
      await this.#store.drop(this.#database, { diverged });
      this.#failures = 0;
    });
  }

  /** Behind a drop, before what is made under the name next. What the store refuses is told again with a request. */
  own(ownership: DatabaseOwnership): void {
    const own = () => this.#store.own(this.#database, ownership);
    const epoch = this.#epoch;
    if (this.#steps > 0) this.#step(own);
    else own().catch((error) => this.#fail(error, epoch));
  }

  /** The server has taken a request: what comes from now on follows from that, if it was the last. */
  answered(): void {
    if (this.#unanswered > 0) this.#unanswered--;
  }

  /** The connection is gone. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    // One that is whole is finished all the same.
    if (this.#resync) this.#beginAnew();
  }

  /** Whether something that was received is still on its way into the store. */
  get isBusy(): boolean {
    return this.#steps > 0 || this.#applies > 0;
  }

  /** Whether it would be no other if it were made anew. */
  get isIdle(): boolean {
    const isWaiting = this.#failed || this.#unanswered > 0 || this.#resync !== undefined;
    return !isWaiting && !this.isBusy && this.#account.bytes === 0;
  }

  /** Bytes that were received, and count as not applied yet. */
  get takenBytes(): number {
    return this.#account.bytes;
  }

  /**
   * Something is stuck on its way into the store: what comes until `done` is left out, so that others go on, and then
   * asked for anew.
   */
  hold(done: Promise<void>): void {
    this.#beginAnew();
    this.#failed = true;
    const { bytes } = this.#account;
    this.#account = { bytes: 0 };
    this.#events.released(bytes);
    const epoch = this.#epoch;
    this.#steps++;
    // A drop or a resync that comes meanwhile must not overtake it.
    this.#chain = Promise.all([this.#chain, done]).then(() => {
      this.#steps--;
      if (this.#closed || epoch !== this.#epoch) return;
      this.#beginAnew();
      this.#request(false);
    });
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

  /** Counts what was taken in. What it returns is called when that is done with. */
  #take(bytes: number): () => void {
    const account = this.#account;
    account.bytes += bytes;
    return () => {
      // Else it was written off.
      if (account === this.#account) {
        account.bytes -= bytes;
        this.#events.released(bytes);
      }
    };
  }

  #apply(entry: ReceivedEntry, release: () => void): void {
    const epoch = this.#epoch;
    this.#applies++;
    this.#lastApply = this.#store.apply(entry).then(
      (position) => {
        this.#applies--;
        this.#failures = 0;
        release();
        this.#events.applied(this.#database, position);
      },
      (error) => {
        this.#applies--;
        release();
        this.#fail(error, epoch);
      },
    );
  }

  #resyncStep(
    run: (resync: Resync) => Promise<void>,
    release = () => {},
    discard = () => {},
  ): void {
    const running = this.#resync;
    this.#step(async () => {
      try {
        // It has begun: otherwise nothing more is done in this epoch.
        await run(running?.store as Resync);
      } finally {
        release();
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

  #request(pages: boolean): void {
    const [is, was] = [this.#store.positions(), this.#store.ended()];
    const position = is.get(this.#database) ?? was.get(this.#database) ?? ZERO_POSITION;
    if (!this.#events.request(this.#database, position, pages)) return;
    this.#unanswered++;
    // The answer tells what is of use again.
    this.#beginAnew();
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
    const pages = !isDiskFault(error);
    this.#log.error({ database: this.#name, code }, message);
    const wait = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** (this.#failures - 1));
    // The first time it is most likely over at once: what differs is sent.
    this.#retry = setTimeout(
      () => {
        if (!pages) this.#beginAnew();
        this.#request(pages);
      },
      this.#failures === 1 && pages ? 0 : wait,
    );
  }
}

/** Has the store throw away what it has staged. It may have done so. */
function abort({ store }: Running): void {
  store?.abort().catch(() => {});
}
