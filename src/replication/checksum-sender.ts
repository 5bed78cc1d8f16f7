/** What a replica answers to CHECKSUMS_ASK: of one database after the other, however many it is asked for. */
import { encodeChecksums } from './messages.ts';
import type { ReplicationStore } from './store.ts';
import type { FrameTransport } from './transport.ts';

const PART_BYTES = 512 << 10;

export class ChecksumSender {
  readonly #store: ReplicationStore;
  readonly #transport: FrameTransport;
  /** Those that are asked for, and not begun. */
  readonly #waiting = new Set<string>();
  #chain: Promise<void> = Promise.resolve();

  constructor({
    store,
    transport,
  }: {
    readonly store: ReplicationStore;
    readonly transport: FrameTransport;
  }) {
    this.#store = store;
    this.#transport = transport;
  }

  /**
   * Sends the checksums of all pages of a database, in parts; an empty one when it is not here. What fails ends the
   * connection. Who asks twice before the answer has begun gets one.
   */
  ask(database: string): void {
    if (this.#waiting.has(database)) return;
    this.#waiting.add(database);
    this.#chain = this.#chain
      .then(() => {
        this.#waiting.delete(database);
        return this.#transport.isClosed ? undefined : this.#send(database);
      })
      .catch((error) => this.#transport.destroy(error));
  }

  async #send(database: string): Promise<void> {
    const ours = await this.#store.pageChecksums(database);
    const checksums = ours?.checksums ?? new Uint8Array();
    const pageSize = ours?.pageSize ?? 0;
    for (let at = 0; ; at += PART_BYTES) {
      const bytes = checksums.subarray(at, at + PART_BYTES);
      const last = at + PART_BYTES >= checksums.length;
      const room = this.#transport.send(
        'CHECKSUMS',
        encodeChecksums(database, { last, pageSize, bytes }),
      );
      await room;
      if (last) break;
    }
  }
}
