/** The halt lock at the replica's end of a connection: what was asked for, and what waits for an answer. */
import fs from 'node:fs';
import { LiteFsError } from '../errors.ts';
import type { Position } from '../ltx/position.ts';
import {
  type Committed,
  encodeEntryBegin,
  encodeHalt,
  encodeName,
  encodeNamed,
  encodeNamedId,
  type Halted,
} from './messages.ts';
import type { ReceivedEntry } from './store.ts';
import type { FrameTransport } from './transport.ts';

const WHOLE_ENTRY_BYTES_MAX = 1 << 20;
const CHUNK_BYTES = 256 << 10;

interface Waiting {
  resolve(position: Position): void;
  reject(error: Error): void;
}

export class HaltBorrower {
  readonly #transport: FrameTransport;
  readonly #asked = new Map<string, Waiting & { id: number }>();
  readonly #commits = new Map<string, Waiting>();
  #closed = false;

  constructor(transport: FrameTransport) {
    this.#transport = transport;
  }

  /** Resolves with the position at which the database is locked. Rejects with WRONG_STATE, PEER_UNREACHABLE. */
  ask(database: string, id: number, waitMs: number): Promise<Position> {
    if (this.#closed) return Promise.reject(lost());
    return new Promise((resolve, reject) => {
      this.#asked.set(database, { id, resolve, reject });
      this.#transport.send('HALT', encodeHalt({ database, id, waitMs }));
    });
  }

  release(database: string, id: number): void {
    this.#transport.send('UNHALT', encodeNamedId(database, id));
  }

  /** Resolves when the server has committed it. A rejection by PEER_UNREACHABLE may come after that all the same. */
  async commit({ database, source }: ReceivedEntry): Promise<Position> {
    if (this.#closed) throw lost();
    const answered = new Promise<Position>((resolve, reject) => {
      this.#commits.set(database, { resolve, reject });
    });
    answered.catch(() => {});
    if ('bytes' in source && source.bytes.length <= WHOLE_ENTRY_BYTES_MAX) {
      this.#transport.send('ENTRY', ...encodeNamed(database, source.bytes));
    } else {
      await this.#sendChunks(database, source);
    }
    return answered;
  }

  halted({ database, id, position, error }: Halted): void {
    const waiting = this.#asked.get(database);
    if (waiting?.id !== id) throw new LiteFsError('PROTOCOL', 'a HALTED that nobody asked for');
    this.#asked.delete(database);
    if (error === '') waiting.resolve(position);
    else waiting.reject(new LiteFsError('WRONG_STATE', error));
  }

  committed({ database, position, error }: Committed): void {
    const waiting = this.#commits.get(database);
    if (!waiting) throw new LiteFsError('PROTOCOL', 'a COMMITTED that nobody asked for');
    this.#commits.delete(database);
    if (error === '') waiting.resolve(position);
    else waiting.reject(new LiteFsError('WRONG_STATE', error));
  }

  close(): void {
    this.#closed = true;
    for (const waiting of [...this.#asked.values(), ...this.#commits.values()]) {
      waiting.reject(lost());
    }
    this.#asked.clear();
    this.#commits.clear();
  }

  async #sendChunks(database: string, source: ReceivedEntry['source']): Promise<void> {
    const transport = this.#transport;
    const handle = 'path' in source ? await fs.promises.open(source.path, 'r') : undefined;
    try {
      const length = 'bytes' in source ? source.bytes.length : ((await handle?.stat())?.size ?? 0);
      await transport.send('ENTRY_BEGIN', encodeEntryBegin(database, length));
      for (let at = 0; at < length; at += CHUNK_BYTES) {
        let bytes: Uint8Array;
        if ('bytes' in source) {
          bytes = source.bytes.subarray(at, at + CHUNK_BYTES);
        } else {
          const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, length - at));
          const read = await handle?.read(chunk, 0, chunk.length, at);
          if (read?.bytesRead !== chunk.length) throw new Error('a spool file became shorter');
          bytes = chunk;
        }
        await transport.send('ENTRY_CHUNK', ...encodeNamed(database, bytes));
      }
      transport.send('ENTRY_END', encodeName(database));
    } finally {
      await handle?.close();
    }
  }
}

function lost(): LiteFsError {
  return new LiteFsError('PEER_UNREACHABLE', 'the connection to the primary was lost');
}
