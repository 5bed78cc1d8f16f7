/** Connections to the application and to the primary's proxy. */
import http from 'node:http';
import net from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { errorText } from '../errors.ts';
import type { Presence } from './presence.ts';

export interface Origin {
  readonly host: string;
  readonly port: number;
}

export interface UpstreamHead {
  readonly method: string;
  readonly path: string;
  /** Flat: name, value, name, value. */
  readonly headers: readonly string[];
}

/** Of all headers of a message; what a client may send, an application may answer. */
export const HEADER_BYTES_MAX = 64 * 1024;
const RETRY_MS = 100;
const IDLE_SOCKETS_MAX = 64;

/** Errors of a connection that does not come to be. One that has come to be may end with them, too. */
const CONNECT_ERRORS = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
]);

/** Errors of writing to a connection that the other side has closed. */
const CLOSED_ERRORS = new Set(['EPIPE', 'ECONNRESET']);

type Done = (error?: Error | null) => void;

/**
 * A connection whose end is what reading says. A server that does not want a body answers and closes: writing fails then
 * while its answer still waits to be read, and a plain socket would drop it.
 */
class PatientSocket extends net.Socket {
  override _write(chunk: unknown, encoding: BufferEncoding, done: Done): void {
    super._write(chunk, encoding, unlessClosed(done));
  }

  override _writev(chunks: { chunk: unknown; encoding: BufferEncoding }[], done: Done): void {
    super._writev?.(chunks, unlessClosed(done));
  }
}

function unlessClosed(done: Done): Done {
  return (error) => {
    const { code = '' } = (error ?? {}) as NodeJS.ErrnoException;
    done(CLOSED_ERRORS.has(code) ? null : error);
  };
}

/** Connections for one request each, which may have a body. */
class FreshAgent extends http.Agent {
  override createConnection(options: http.ClientRequestArgs): net.Socket {
    return new PatientSocket().connect(options as net.TcpNetConnectOpts);
  }
}

export class Upstream {
  readonly origin: Origin;
  readonly #fresh = new FreshAgent();
  readonly #agent = new http.Agent({ keepAlive: true, maxFreeSockets: IDLE_SOCKETS_MAX });

  readonly #descriptorsMax: number;

  /** `descriptorsMax`: a connection whose descriptor has that number, or a higher one, is given up. */
  constructor(origin: Origin, descriptorsMax = Infinity) {
    this.origin = origin;
    this.#descriptorsMax = descriptorsMax;
  }

  /**
   * A request that has a connection and waits for its body. Connecting is tried again for `retryMs`.
   * `fresh`: by a connection that was never used; a used one may be closed by the other side just when it is taken.
   * Rejects with Unreached, Crowded, what else ended it, or when the client goes.
   */
  async open(
    head: UpstreamHead,
    options: { retryMs: number; fresh: boolean; client: Presence },
  ): Promise<http.ClientRequest> {
    const { retryMs, fresh, client } = options;
    const untilMs = performance.now() + retryMs;
    for (;;) {
      // Who has gone before there was anything to end is not asked for.
      client.assert();
      const request = http.request({
        host: this.origin.host,
        port: this.origin.port,
        method: head.method,
        path: head.path,
        headers: head.headers,
        agent: fresh ? this.#fresh : this.#agent,
        setHost: false,
        maxHeaderSize: HEADER_BYTES_MAX,
      });
      client.onLeave = () => request.destroy();
      try {
        await connected(request);
        if (descriptorOf(request.socket) >= this.#descriptorsMax) throw new Crowded();
        return request;
      } catch (error) {
        request.destroy();
        if (!CONNECT_ERRORS.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
        if (performance.now() >= untilMs || client.gone) throw new Unreached(error);
        await setTimeout(RETRY_MS, undefined, { signal: client.signal });
      }
    }
  }

  close(): void {
    this.#agent.destroy();
    this.#fresh.destroy();
  }
}

/** The other side was not reached at all: nothing was sent. */
export class Unreached extends Error {
  constructor(cause: unknown) {
    super(errorText(cause), { cause });
  }
}

/** The node has no descriptors left for it: those that there are belong to its databases. */
export class Crowded extends Error {
  constructor() {
    super('descriptors are short');
  }
}

/** The number of a connection's descriptor; -1 when it has none any more. Node tells it nowhere else. */
export function descriptorOf(socket: object | null | undefined): number {
  return (socket as { _handle?: { fd?: number } } | null | undefined)?._handle?.fd ?? -1;
}

function connected(request: http.ClientRequest): Promise<void> {
  return new Promise((resolve, reject) => {
    request.once('error', reject);
    request.once('socket', (socket) => {
      const ready = () => {
        request.off('error', reject);
        // Whoever uses it listens from now on; a failure until then must not end the process.
        request.on('error', () => {});
        resolve();
      };
      if (socket.connecting) socket.once('connect', ready);
      else ready();
    });
  });
}

/** The head of its answer. Rejects with what ended the request before it. */
export function answerOf(request: http.ClientRequest): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    const onClose = () => reject(new Error('the connection was closed without an answer'));
    request.once('error', reject);
    request.once('close', onClose);
    request.once('response', (answer) => {
      request.off('close', onClose);
      resolve(answer);
    });
  });
}
