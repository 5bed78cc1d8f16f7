/** What comes of each database over one connection, by its name; of no more names than a node has databases. */
import { LiteFsError } from '../errors.ts';
import { DATABASES_MAX } from './messages.ts';
import type { ReplicationLogger } from './parts.ts';
import { DatabaseReceiver, type ReceiverEvents } from './receiver.ts';
import type { ReplicationStore } from './store.ts';

export interface ReceiversParts {
  readonly store: ReplicationStore;
  readonly log: ReplicationLogger;
  /** Which databases this node follows. */
  readonly wanted: (database: string) => boolean;
  readonly events: ReceiverEvents;
  /** For tests. */
  readonly namesMax?: number;
}

export class Receivers {
  readonly #parts: ReceiversParts;
  readonly #receivers = new Map<string, DatabaseReceiver>();

  constructor(parts: ReceiversParts) {
    this.#parts = parts;
  }

  /** For what comes of a database; undefined when it is not wanted. Throws PROTOCOL when there are too many. */
  of(database: string): DatabaseReceiver | undefined {
    const { store, log, wanted, events } = this.#parts;
    const known = this.#receivers.get(database);
    if (known || !wanted(database)) return known;
    this.#makeRoom();
    const receiver = new DatabaseReceiver(database, store, log, events);
    this.#receivers.set(database, receiver);
    return receiver;
  }

  /** The same for what is only said of a database: undefined also when neither the store nor this connection has any. */
  about(database: string): DatabaseReceiver | undefined {
    const isHere = this.#receivers.has(database) || this.#parts.store.positions().has(database);
    return isHere ? this.of(database) : undefined;
  }

  /** Forgets names of which nothing has come to stay: the server may say any number in the course of time. */
  #makeRoom(): void {
    const { store, namesMax = DATABASES_MAX } = this.#parts;
    if (this.#receivers.size < namesMax) return;
    const positions = store.positions();
    for (const [name, receiver] of this.#receivers) {
      if (receiver.isIdle && !positions.has(name)) this.#receivers.delete(name);
    }
    if (this.#receivers.size < namesMax) return;
    throw new LiteFsError('PROTOCOL', `more than ${namesMax} databases over one connection`);
  }

  [Symbol.iterator](): Iterator<[string, DatabaseReceiver]> {
    return this.#receivers.entries();
  }

  /** Databases of which something is still on its way into the store, until it is there. */
  busy(): Map<string, Promise<void>> {
    const busy = [...this.#receivers].filter(([, receiver]) => receiver.isBusy);
    return new Map(busy.map(([name, receiver]) => [name, receiver.drained()]));
  }

  /** Resolves when nothing that was received is still on its way into the store. */
  async drained(): Promise<void> {
    await Promise.all([...this.#receivers.values()].map((receiver) => receiver.drained()));
  }

  close(): void {
    for (const receiver of this.#receivers.values()) receiver.close();
  }
}
