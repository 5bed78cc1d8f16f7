/**
 * VERIFY at the server's end of a connection. The node reads one database once at a time, for all that ask; a connection
 * asks once at a time for each database: what a replica can have the node do is bounded.
 */
import { errorText, LiteFsError } from '../errors.ts';
import { nameText } from '../store/layout.ts';
import { decodeNamedId } from './messages.ts';
import type { VerifyHost } from './parts.ts';
import type { FrameTransport } from './transport.ts';
import { encodeVerified, type Verified } from './verify-messages.ts';

const REASON_CHARACTERS_MAX = 1000;

export class VerifyAnswerer {
  readonly #transport: FrameTransport;
  readonly #host: VerifyHost;
  readonly #asked = new Set<string>();

  constructor(transport: FrameTransport, host: VerifyHost) {
    this.#transport = transport;
    this.#host = host;
  }

  /** Takes a VERIFY. Throws PROTOCOL when one of that database is not answered yet. */
  verify(payload: Buffer, isWanted: (database: string) => boolean): void {
    const { database, id } = decodeNamedId(payload);
    const answer = (found: Verified['found']) => {
      this.#asked.delete(database);
      this.#transport.send('VERIFIED', encodeVerified({ database, id, found }));
    };
    if (this.#asked.has(database)) {
      throw new LiteFsError('PROTOCOL', 'a VERIFY before the one before it was answered');
    }
    this.#asked.add(database);
    if (!isWanted(database)) {
      answer({ unknown: `${nameText(database)} is not what was subscribed to` });
      return;
    }
    this.#host.primaryPages(database).then(answer, (error) => answer({ unknown: sentence(error) }));
  }
}

/** Never empty: that would mean success. */
function sentence(error: unknown): string {
  return errorText(error).slice(0, REASON_CHARACTERS_MAX) || 'it failed';
}
