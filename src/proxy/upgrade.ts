/** A connection that becomes something else, a WebSocket mostly: passed on as bytes in both directions. */
import http from 'node:http';
import type { Duplex } from 'node:stream';
import type { Decision } from './decide.ts';
import { type Exchanges, type Outcome, TARGET_RETRY_MS } from './exchange.ts';
import { responseHeaders } from './headers.ts';
import { originForm } from './intake.ts';
import {
  headersOf,
  type OwnAnswer,
  ofFailure,
  ofFlyReplay,
  ofRedirect,
  ofRefusal,
  silentPrimary,
  silentTarget,
} from './own-answer.ts';
import type { Presence } from './presence.ts';
import type { Upstream } from './upstream.ts';

/** A request for another protocol, and its connection. */
interface Wish {
  readonly request: http.IncomingMessage;
  readonly socket: Duplex;
  /** What has come after its headers. */
  readonly head: Buffer;
  readonly client: Presence;
}

/** How it ended, and with which status. */
export type UpgradeOutcome = Outcome & { readonly status: number };

/** Decides as for any request, and refuses as any. Never rejects. */
export async function passUpgrade(exchanges: Exchanges, wish: Wish): Promise<UpgradeOutcome> {
  const { request, socket, client } = wish;
  const kind = exchanges.kindOf(request);
  socket.on('error', () => socket.destroy());
  try {
    const refusal = exchanges.entrance.refusalOf(request, exchanges.node.facts().hostname);
    const decision = refusal ?? (await exchanges.decide(request, client));
    const status = await follow(exchanges, decision, wish);
    return { kind, way: decision.to, status };
  } catch (error) {
    const status = answer(socket, ofFailure(error), []);
    return { kind, way: 'failed', status, error: client.gone ? undefined : error };
  }
}

/** Resolves with the status of the answer. */
async function follow(exchanges: Exchanges, decision: Decision, wish: Wish): Promise<number> {
  const { node, settings } = exchanges;
  const own = (of: OwnAnswer) => answer(wish.socket, of, exchanges.ownHeaders(''));
  switch (decision.to) {
    case 'target':
      return pass(exchanges.target, wish, {
        retryMs: TARGET_RETRY_MS,
        told: exchanges.entrance.headersFor(wish.request),
      }).catch((error) => own(ofRefusal(silentTarget(exchanges.target.origin, error))));
    case 'primary': {
      const told = exchanges.entrance.headersFor(wish.request, node.facts().hostname);
      const options = { retryMs: settings.primaryMs, told };
      return pass(exchanges.upstreamOf(decision.url), wish, options).catch((error) =>
        own(ofRefusal(silentPrimary(decision.url, error))),
      );
    }
    case 'redirect':
      return own(ofRedirect(decision.location));
    case 'fly-replay':
      return own(ofFlyReplay(decision.instance));
    case 'refuse':
      return own(ofRefusal(decision));
    default:
      throw new Error(`a decision that is none: ${decision.to}`);
  }
}

/** Resolves with the status once the other side has answered; rejects when it does not. */
async function pass(
  upstream: Upstream,
  { request, socket, head, client }: Wish,
  { retryMs, told }: { retryMs: number; told: readonly string[] },
): Promise<number> {
  const headers = [...told, 'Connection', 'Upgrade', 'Upgrade', request.headers.upgrade ?? ''];
  const { method = 'GET' } = request;
  const path = originForm(request.url ?? '/');
  const upward = await upstream.open({ method, path, headers }, { retryMs, fresh: true, client });
  client.onLeave = () => upward.destroy();
  return new Promise((resolve, reject) => {
    upward.on('error', reject);
    upward.on('close', () => reject(new Error('the connection was closed without an answer')));
    upward.on('upgrade', (first, other, rest) => {
      resolve(first.statusCode ?? 0);
      client.onLeave = () => other.destroy();
      other.on('error', () => other.destroy());
      socket.write(statusLine(first, first.rawHeaders), 'latin1');
      if (rest.length > 0) socket.write(rest);
      if (head.length > 0) other.write(head);
      other.on('close', () => {
        // A client that reads slowly still waits for the last of it.
        if (other.readableEnded && !socket.writableFinished) {
          socket.on('finish', () => socket.destroy());
        } else socket.destroy();
      });
      other.pipe(socket);
      socket.pipe(other);
    });
    // The other side does not want to: its answer is passed on, and the connection ends with it.
    upward.on('response', (refusal) => {
      resolve(refusal.statusCode ?? 0);
      const passed = responseHeaders(refusal.rawHeaders, { keepOurs: true });
      socket.write(statusLine(refusal, [...passed, 'Connection', 'close']), 'latin1');
      // Where the end of the connection is the end of the answer, only a reset tells that it was cut off.
      refusal.on('error', () => request.socket.resetAndDestroy());
      refusal.pipe(socket);
    });
    upward.end();
  });
}

/** In latin-1, as node:http has headers. */
function statusLine(
  { statusCode, statusMessage }: Pick<http.IncomingMessage, 'statusCode' | 'statusMessage'>,
  headers: readonly string[],
): string {
  const lines = [`HTTP/1.1 ${statusCode} ${statusMessage ?? ''}`];
  for (let i = 0; i < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`);
  return `${lines.join('\r\n')}\r\n\r\n`;
}

/** An answer of our own; it is the last on this connection. */
function answer(socket: Duplex, own: OwnAnswer, more: readonly string[]): number {
  const { status: statusCode, text } = own;
  const statusMessage = http.STATUS_CODES[statusCode];
  const headers = [...headersOf(own), ...more, 'Connection', 'close'];
  socket.write(statusLine({ statusCode, statusMessage }, headers), 'latin1');
  socket.end(text);
  return statusCode;
}
