/**
 * The halt lock at the server's end of a connection: asks the node for what the replica wants, and gives back with the
 * connection what it still has. A lock belongs to the connection over which it was asked for.
 */
import fs from 'node:fs';
import { errorText, LiteFsError } from '../errors.ts';
import { type Position, ZERO_POSITION } from '../ltx/position.ts';
import { type Committed, encodeCommitted, encodeHalted, type Halt } from './messages.ts';
import type { HaltHost } from './parts.ts';
import type { ReceivedEntry } from './store.ts';
import type { FrameTransport } from './transport.ts';

interface Lock {
  readonly id: number;
  /** Until then it was asked for only. */
  granted: boolean;
}

export class HaltLender {
  readonly #transport: FrameTransport;
  readonly #host: HaltHost;
  readonly #locks = new Map<string, Lock>();
  readonly #committing = new Set<string>();
  #closed = false;

  constructor(transport: FrameTransport, host: HaltHost) {
    this.#transport = transport;
    this.#host = host;
  }

  /** Whether an entry that comes from the engine now is one that the replica has made. */
  isCommitting(database: string): boolean {
    return this.#committing.has(database);
  }

  refuse({ database, id }: Halt, error: string): void {
    const halted = { database, id, position: ZERO_POSITION, error };
    this.#transport.send('HALTED', encodeHalted(halted));
  }

  ask({ database, id, waitMs }: Halt, holder: string): void {
    const answer = (position: Position, error: string) => {
      this.#transport.send('HALTED', encodeHalted({ database, id, position, error }));
    };
    if (this.#locks.has(database)) {
      answer(ZERO_POSITION, `${database} is locked over this connection already`);
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

  release(database: string, id: number): void {
    const lock = this.#locks.get(database);
    if (lock?.id !== id) return;
    this.#locks.delete(database);
    if (lock.granted) this.#host.takeBack(database, id);
  }

  /** A transaction; `acknowledged` is told the new position before the replica is. */
  commit(entry: ReceivedEntry, acknowledged: (position: Position) => void): void {
    const { database, source } = entry;
    const answer = (committed: Omit<Committed, 'database'>) => {
      this.#committing.delete(database);
      if ('path' in source) fs.rmSync(source.path, { force: true });
      this.#transport.send('COMMITTED', encodeCommitted({ database, ...committed }));
    };
    const lock = this.#locks.get(database);
    if (!lock?.granted) {
      answer({ position: ZERO_POSITION, error: `the halt lock of ${database} is not held` });
      return;
    }
    this.#committing.add(database);
    this.#host.commit(lock.id, entry).then(
      (position) => {
        acknowledged(position);
        answer({ position, error: '' });
      },
      (error) => answer({ position: ZERO_POSITION, error: sentence(error) }),
    );
  }

  close(): void {
    this.#closed = true;
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
