/** The body of a request on its way from the client to the other side. */
import type http from 'node:http';
import { trailerPairs } from './headers.ts';
import { KeptBody, type ReplayMemory } from './replay.ts';

/**
 * A client that has sent `Expect: 100-continue` holds its body back until it is asked for it. A server that knows
 * nothing of that waits for the body: after so long it gets it without having asked.
 */
const CONTINUE_MS = 1000;

export class RequestBody {
  /** Whether there is one. */
  readonly exists: boolean;
  readonly #request: http.IncomingMessage;
  readonly #response: http.ServerResponse;
  #kept: KeptBody | undefined;
  #held: boolean;
  #stopWaiting: (() => void) | undefined;
  #onEnd: (() => void) | undefined;

  constructor(request: http.IncomingMessage, response: http.ServerResponse) {
    const { headers, httpVersion } = request;
    this.#request = request;
    this.#response = response;
    this.exists =
      headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
    // HTTP/1.0 does not know it.
    this.#held =
      this.exists && httpVersion === '1.1' && headers.expect?.toLowerCase() === '100-continue';
  }

  /** Whether the client has not been asked for it yet, and waits for that. */
  get held(): boolean {
    return this.#held;
  }

  /** Keeps what goes by from now on, up to a limit. */
  keep(bytesMax: number, memory: ReplayMemory): KeptBody {
    this.#kept = new KeptBody(bytesMax, memory);
    return this.#kept;
  }

  /** The request has its answer: nothing is kept any more. */
  release(): void {
    this.#kept?.release();
  }

  /** Streams it, as soon as the client sends it. */
  sendTo(upward: http.ClientRequest): void {
    if (!this.#held) {
      this.#pipe(upward);
      return;
    }
    upward.flushHeaders();
    const begin = (ask: boolean) => {
      stop();
      this.#held = false;
      if (ask) this.#response.writeContinue();
      this.#pipe(upward);
    };
    const onAsked = () => begin(true);
    // Some clients do not wait for ever, and some not at all.
    const onBody = () => begin(false);
    const timer = setTimeout(onAsked, CONTINUE_MS);
    // It has its answer: whether it still sends a body is up to the client.
    const onAnswer = () => clearTimeout(timer);
    const stop = () => {
      clearTimeout(timer);
      this.#request.off('readable', onBody);
      upward.off('continue', onAsked).off('response', onAnswer).off('close', stop);
    };
    this.#stopWaiting = stop;
    this.#request.on('readable', onBody);
    upward.on('continue', onAsked).on('response', onAnswer).on('close', stop);
  }

  /**
   * Reads what is left of it, though the other side takes no more: a client that sends first and reads then would never
   * come to its answer.
   */
  drain(): void {
    if (this.#held) {
      this.#stopWaiting?.();
      this.#held = false;
      this.#response.writeContinue();
      this.#keepFromHere();
    }
    if (this.#onEnd) this.#request.off('end', this.#onEnd);
    this.#request.unpipe().resume();
  }

  #keepFromHere(): void {
    const kept = this.#kept;
    if (kept) this.#request.on('data', (chunk: Buffer) => kept.add(chunk));
  }

  #pipe(upward: http.ClientRequest): void {
    const request = this.#request;
    this.#keepFromHere();
    request.on('error', () => upward.destroy());
    request.on('aborted', () => upward.destroy());
    this.#onEnd = () => {
      const { rawTrailers } = request;
      if (rawTrailers.length > 0) upward.addTrailers(trailerPairs(rawTrailers));
      upward.end();
    };
    request.on('end', this.#onEnd);
    request.pipe(upward, { end: false });
  }
}
