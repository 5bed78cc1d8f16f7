/**
 * The halt lock at the server's end of a connection: asks the node for what the replica wants, and gives back with the
 * connection what it still has. A lock belongs to the connection over which it was asked for.
 */
import { errorText, LiteFsError } from '../errors.ts';
import { type Position, ZERO_POSITION } from '../ltx/position.ts';
import { nameText } from '../store/layout.ts';
import { removeSpooled } from '../store/spool.ts';
import { EntrySpools } from './entry-spools.ts';
import { FRAME_TYPES } from './frame.ts';
import {
  type Committed,
  decodeEntryBegin,
  decodeHalt,
  decodeName,
  decodeNamed,
  decodeNamedId,
  encodeCommitted,
  encodeHalted,
  FEATURE_HALT,
  type Halt,
  type Hello,
} from './messages.ts';
import type { HaltHost } from './parts.ts';
import type { ReceivedEntry } from './store.ts';
import type { FrameTransport } from './transport.ts';

export interface HaltLenderParts {
  readonly transport: FrameTransport;
  readonly halts: HaltHost;
  /** Whether the replica may write here: not a stranger, as anybody is without a secret. */
  readonly mayWrite: () => boolean;
  readonly spoolDir: string;
  /** A transaction of the replica is committed; told before the replica is. */
  readonly committed: (database: string, position: Position) => void;
}

interface Lock {
  readonly id: number;
  /** Until then it was asked for only. */
  granted: boolean;
}

export class HaltLender {
  readonly #parts: HaltLenderParts;
  readonly #transport: FrameTransport;
  readonly #host: HaltHost;
  readonly #spools: EntrySpools;
  readonly #locks = new Map<string, Lock>();
  readonly #committing = new Set<string>();
  #closed = false;

  constructor(parts: HaltLenderParts) {
    this.#parts = parts;
    this.#transport = parts.transport;
    this.#host = parts.halts;
    this.#spools = new EntrySpools(parts.spoolDir);
  }

  /** Takes a frame of the halt lock; false when it is none, or the replica has not announced that it knows it. */
  frame(type: number, payload: Buffer, peer: Hello): boolean {
    if ((peer.features & FEATURE_HALT) === 0) return false;
    switch (type) {
      case FRAME_TYPES.HALT:
        this.#ask(decodeHalt(payload), peer.hostname);
        return true;
      case FRAME_TYPES.UNHALT:
        this.#release(decodeNamedId(payload));
        return true;
      case FRAME_TYPES.ENTRY: {
        const { database, bytes } = decodeNamed(payload);
        this.#commit({ database, source: { bytes } });
        return true;
      }
      case FRAME_TYPES.ENTRY_BEGIN: {
        const begin = decodeEntryBegin(payload);
        // Nothing is kept for who must not write.
        if (this.#expectOne(begin.database)) this.#spools.begin(begin);
        return true;
      }
      case FRAME_TYPES.ENTRY_CHUNK: {
        const { database, bytes } = decodeNamed(payload);
        this.#spools.chunk({ database, parts: [bytes] });
        return true;
      }
      case FRAME_TYPES.ENTRY_END: {
        const database = decodeName(payload);
        if (!this.#expectOne(database)) {
          this.#refuse(database);
          return true;
        }
        const path = this.#spools.end(database);
        if (path !== undefined) this.#commit({ database, source: { path } });
        return true;
      }
      default:
        return false;
    }
  }

  /** Whether an entry that comes from the engine now is one that the replica has made. */
  isCommitting(database: string): boolean {
    return this.#committing.has(database);
  }

  /** Whether a transaction of it may come now. Throws PROTOCOL when one is not answered yet. */
  #expectOne(database: string): boolean {
    if (this.#committing.has(database)) {
      throw new LiteFsError('PROTOCOL', 'a transaction before the one before it was answered');
    }
    return this.#locks.get(database)?.granted === true;
  }

  #refuse(database: string): void {
    const error = `the halt lock of ${nameText(database)} is not held`;
    const refusal = encodeCommitted({ database, position: ZERO_POSITION, error });
    this.#transport.send('COMMITTED', refusal);
  }

  #ask({ database, id, waitMs }: Halt, holder: string): void {
    const answer = (position: Position, error: string) => {
      this.#transport.send('HALTED', encodeHalted({ database, id, position, error }));
    };
    if (!this.#parts.mayWrite()) {
      const text = 'without replication.secret only nodes of one machine may, run by the same user';
      answer(ZERO_POSITION, text);
      return;
    }
    if (this.#locks.has(database)) {
      answer(ZERO_POSITION, `${nameText(database)} is locked over this connection already`);
      return;
    }
    const lock: Lock = { id, granted: false };
    this.#locks.set(database, lock);
    this.#host.lend(database, id, holder, waitMs).then(
      (position) => {
        lock.granted = true;
        // It may have been given back meanwhile.
        if (this.#closed || this.#locks.get(database) !== lock) this.#host.takeBack(database, id);
        else answer(position, '');
      },
      (error) => {
        if (this.#locks.get(database) === lock) this.#locks.delete(database);
        answer(ZERO_POSITION, sentence(error));
      },
    );
  }

  #release({ database, id }: { database: string; id: number }): void {
    const lock = this.#locks.get(database);
    if (lock?.id !== id) return;
    this.#locks.delete(database);
    this.#spools.drop(database);
    if (lock.granted) this.#host.takeBack(database, id);
  }

  #commit(entry: ReceivedEntry): void {
    const { database, source } = entry;
    const answer = (committed: Omit<Committed, 'database'>) => {
      this.#committing.delete(database);
      if ('path' in source) removeSpooled(source.path);
      this.#transport.send('COMMITTED', encodeCommitted({ database, ...committed }));
    };
    const lock = this.#locks.get(database);
    if (!lock || !this.#expectOne(database)) {
      this.#refuse(database);
      return;
    }
    this.#committing.add(database);
    this.#host.commit(lock.id, entry).then(
      (position) => {
        this.#parts.committed(database, position);
        answer({ position, error: '' });
      },
      (error) => answer({ position: ZERO_POSITION, error: sentence(error) }),
    );
  }

  close(): void {
    this.#closed = true;
    this.#spools.dropAll();
    for (const [database, { id, granted }] of this.#locks) {
      if (granted) this.#host.takeBack(database, id);
    }
    this.#locks.clear();
  }
}

/** Texts are short, and never empty: that would mean success. */
function sentence(error: unknown): string {
  const hint = error instanceof LiteFsError && error.hint ? `. ${error.hint}` : '';
  return `${errorText(error)}${hint}`.slice(0, 1000) || 'it failed';
}
