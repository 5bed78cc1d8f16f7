/**
 * Bodies that do not move: of a request that the client does not go on sending, and of an answer that it does not go on
 * reading. What waits for the application, or for a database, is not the client's to move, and has its own limits.
 */
import type http from 'node:http';
import type { Socket } from 'node:net';

/** What is looked at of a request and its answer. */
export interface Transfer {
  readonly request: Pick<http.IncomingMessage, 'complete' | 'readableFlowing'>;
  readonly response: Pick<http.ServerResponse, 'closed'>;
  readonly socket: Pick<Socket, 'bytesRead' | 'bytesWritten' | 'writableLength' | 'destroyed'>;
}

interface Watched {
  moved: number;
  sinceMs: number;
}

export class ProgressWatch<T extends Transfer> {
  readonly #transfers = new Map<T, Watched>();
  readonly #stallMs: number;
  readonly #onStall: (transfer: T) => void;

  /** `onStall`: nothing of it has moved for `stallMs`. Once for each. */
  constructor(stallMs: number, onStall: (transfer: T) => void) {
    this.#stallMs = stallMs;
    this.#onStall = onStall;
  }

  add(transfer: T, nowMs: number): void {
    this.#transfers.set(transfer, { moved: -1, sinceMs: nowMs });
  }

  /** Its answer has ended; what is left of its body may still have to come. */
  answered(transfer: T): void {
    if (transfer.request.complete) this.#transfers.delete(transfer);
  }

  /** Has to be called now and then, more often than `stallMs`. */
  look(nowMs: number): void {
    for (const [transfer, watched] of this.#transfers) {
      const { request, response, socket } = transfer;
      if (socket.destroyed || (request.complete && response.closed)) {
        this.#transfers.delete(transfer);
        continue;
      }
      const { bytesRead, bytesWritten, writableLength } = socket;
      const moved = bytesRead + bytesWritten - writableLength;
      const isSending = !request.complete && request.readableFlowing === true;
      const isClients = isSending || writableLength > 0;
      if (!isClients || moved !== watched.moved) {
        watched.moved = moved;
        watched.sinceMs = nowMs;
      } else if (nowMs - watched.sinceMs >= this.#stallMs) {
        this.#transfers.delete(transfer);
        this.#onStall(transfer);
      }
    }
  }
}
