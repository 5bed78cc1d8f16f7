/** Tells a replica to whom databases belong: before anything of one is sent, and when that has changed. */
import { encodeOwnership } from './ownership-messages.ts';
import type { ReplicationStore } from './store.ts';
import type { FrameTransport } from './transport.ts';

export class OwnershipTeller {
  readonly #transport: FrameTransport;
  readonly #store: ReplicationStore;

  constructor(transport: FrameTransport, store: ReplicationStore) {
    this.#transport = transport;
    this.#store = store;
  }

  /** Nothing when it is not known. A database that is new is told of when it is. */
  tell(database: string): void {
    const ownership = this.#store.ownership(database);
    if (ownership) this.#transport.send('OWNERSHIP', encodeOwnership(database, ownership));
  }
}
