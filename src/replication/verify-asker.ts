/**
 * VERIFY at the replica's end of a connection. The answer takes as long as the server reads, and has no time limit: the
 * connection shows by its heartbeats that the server is there.
 */
import { LiteFsError } from '../errors.ts';
import { encodeNamedId } from './messages.ts';
import type { OwnPages } from './parts.ts';
import type { FrameTransport } from './transport.ts';
import type { Verified } from './verify-messages.ts';

interface Waiting {
  readonly id: number;
  resolve(found: OwnPages): void;
  reject(error: Error): void;
}

export class VerifyAsker {
  readonly #transport: FrameTransport;
  readonly #asked = new Map<string, Waiting>();
  #nextId = 1;
  #closed = false;

  constructor(transport: FrameTransport) {
    this.#transport = transport;
  }

  /**
   * Resolves with what the primary has found in its pages. One at a time for each database. Rejects with WRONG_STATE when the
   * server cannot tell, PEER_UNREACHABLE when the connection is lost.
   */
  ask(database: string): Promise<OwnPages> {
    if (this.#closed) return Promise.reject(lost());
    if (this.#asked.has(database)) {
      return Promise.reject(new LiteFsError('WRONG_STATE', 'the primary is being asked already'));
    }
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#asked.set(database, { id, resolve, reject });
      this.#transport.send('VERIFY', encodeNamedId(database, id));
    });
  }

  verified({ database, id, found }: Verified): void {
    const waiting = this.#asked.get(database);
    if (waiting?.id !== id) throw new LiteFsError('PROTOCOL', 'a VERIFIED that was not asked for');
    this.#asked.delete(database);
    if ('unknown' in found) waiting.reject(new LiteFsError('WRONG_STATE', found.unknown));
    else waiting.resolve(found);
  }

  close(): void {
    this.#closed = true;
    for (const waiting of this.#asked.values()) waiting.reject(lost());
    this.#asked.clear();
  }
}

function lost(): LiteFsError {
  return new LiteFsError('PEER_UNREACHABLE', 'the connection to the primary was lost');
}
