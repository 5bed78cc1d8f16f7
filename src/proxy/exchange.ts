/** One request and its answer: decided (decide.ts), sent where it belongs, and streamed back. */
import type http from 'node:http';
import { RequestBody } from './body.ts';
import {
  type CookieRealm,
  formatTxids,
  parseWanted,
  setsTxidCookie,
  TXID_COOKIE,
  txidSetCookie,
  WANTS_NOTHING,
} from './cookie.ts';
import {
  type Decision,
  type DecisionSettings,
  decide,
  forwardTo,
  type Refusal,
  refuse,
} from './decide.ts';
import { Entrance, type EntranceSettings } from './entrance.ts';
import { descriptorBounds } from './gate.ts';
import {
  FORWARDED_BY,
  headerValue,
  relaxTxnumCookie,
  responseHeaders,
  trailerPairs,
  withoutHeader,
} from './headers.ts';
import { answerHealth } from './health.ts';
import { passHints } from './hints.ts';
import { originForm } from './intake.ts';
import type { ProxyNode } from './node.ts';
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
import { ClientGone, type Presence } from './presence.ts';
import { type KeptBody, ReplayMemory, replayWish } from './replay.ts';
import { isRepeatable, isUpgrade, type RequestKind, type RuleSettings, Rules } from './rules.ts';
import { answerOf, Upstream } from './upstream.ts';

export interface ExchangeSettings extends DecisionSettings, RuleSettings, EntranceSettings {
  readonly databases: readonly string[];
  readonly readYourWritesMs: number;
  readonly primaryMs: number;
  readonly responseHeaders: boolean;
  /** Of one body that is kept, and of all. */
  readonly replayBodyBytesMax: number;
  readonly replayMemoryBytesMax: number;
  readonly maxLagMs: number;
  /** How many descriptors this process may have. */
  readonly descriptorsMax: number;
}

/** How a request ended, for the log and the metrics. */
export interface Outcome {
  readonly kind: RequestKind;
  /** target, primary, or what it was answered with here. */
  readonly way: string;
  /** What it failed of, when that is not the other side's doing: it has to be seen by somebody. */
  readonly error?: unknown;
}

/** An application that is just being started is waited for. */
export const TARGET_RETRY_MS = 5000;

const COOKIE_CONFLICT =
  `the application sets a cookie ${TXID_COOKIE} itself: it is left alone, so the proxy cannot set its own, and clients may ` +
  'read older data than they wrote on replicas; give it another name';

/** A request and its answer, and what all steps need of them. */
interface Visit {
  readonly request: http.IncomingMessage;
  readonly response: http.ServerResponse;
  readonly body: RequestBody;
  readonly client: Presence;
}

export class Exchanges {
  readonly node: ProxyNode;
  readonly settings: ExchangeSettings;
  readonly target: Upstream;
  readonly entrance: Entrance;
  readonly #rules: Rules;
  readonly #replayMemory: ReplayMemory;
  readonly #descriptorsMax: number;
  #primary: { readonly url: string; readonly upstream: Upstream } | undefined;

  constructor(node: ProxyNode, settings: ExchangeSettings) {
    this.node = node;
    this.#descriptorsMax = descriptorBounds(settings.descriptorsMax).upstream;
    this.target = new Upstream(settings.target, this.#descriptorsMax);
    this.settings = settings;
    this.entrance = new Entrance(settings);
    this.#replayMemory = new ReplayMemory(settings.replayMemoryBytesMax);
    this.#rules = new Rules(settings);
  }

  close(): void {
    this.target.close();
    this.#primary?.upstream.close();
  }

  kindOf(request: http.IncomingMessage): RequestKind {
    return this.#rules.kindOf({
      method: request.method ?? 'GET',
      target: request.url ?? '/',
      upgrade: isUpgrade(request.headers) ? request.headers.upgrade : undefined,
    });
  }

  /** Where it goes, after the waits that this needs. Rejects when the client goes. */
  async decide(request: http.IncomingMessage, client: Presence): Promise<Decision> {
    const { node, settings } = this;
    const kind = this.kindOf(request) as Exclude<RequestKind, 'health'>;
    const facts = node.facts();
    const isWaitedFor = kind === 'read' && !facts.isPrimary;
    const input = {
      kind,
      wanted: isWaitedFor
        ? parseWanted(request.headers.cookie, this.#realm(), facts.txids)
        : WANTS_NOTHING,
      forwarded: request.headers[FORWARDED_BY] !== undefined,
      target: request.url ?? '/',
    };
    let decision = decide(input, facts, settings, false);
    while (decision.to === 'wait' || decision.to === 'wait-for-primary') {
      const ms = decision.to === 'wait' ? settings.readYourWritesMs : settings.primaryMs;
      const until = AbortSignal.any([client.signal, AbortSignal.timeout(ms)]);
      const isThere =
        decision.to === 'wait'
          ? await node.waitForTxids(decision.txids, until)
          : await node.waitForPrimary(until);
      client.assert();
      decision = decide(input, node.facts(), settings, !isThere);
    }
    return decision;
  }

  /** Answers a request. Never rejects: what cannot be answered any more is cut off. */
  async handle(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    client: Presence,
  ): Promise<Outcome> {
    const kind = this.kindOf(request);
    try {
      const refusal = this.entrance.refusalOf(request, this.node.facts().hostname);
      if (refusal) {
        this.#refuse(request, response, refusal);
        return { kind, way: refusal.to };
      }
      if (kind === 'health') {
        answerHealth(this.node, this.settings.maxLagMs, response);
        return { kind, way: 'health' };
      }
      const decision = await this.decide(request, client);
      const body = new RequestBody(request, response);
      try {
        await this.#follow(decision, { request, response, body, client });
      } finally {
        body.release();
      }
      return { kind, way: decision.to };
    } catch (error) {
      if (response.headersSent || client.gone) response.destroy();
      // Without our own headers: it may be of one of them that it fails.
      else end(request, response, ofFailure(error));
      return { kind, way: 'failed', error: client.gone ? undefined : error };
    }
  }

  #follow(decision: Decision, visit: Visit): Promise<void> | void {
    const { request, response } = visit;
    switch (decision.to) {
      case 'target':
        return this.#toTarget(decision, visit);
      case 'primary':
        return this.#toPrimary(decision.url, visit, undefined);
      case 'redirect':
        return this.#end(request, response, ofRedirect(decision.location));
      case 'fly-replay':
        return this.#end(request, response, ofFlyReplay(decision.instance));
      case 'refuse':
        return this.#refuse(request, response, decision);
      default:
        throw new Error(`a decision that is none: ${decision.to}`);
    }
  }

  async #toTarget(decision: Extract<Decision, { to: 'target' }>, visit: Visit): Promise<void> {
    const { request, response, body, client } = visit;
    // The primary has nowhere to send it again.
    const keptBytesMax = this.node.facts().isPrimary ? 0 : this.settings.replayBodyBytesMax;
    const kept = decision.marked ? body.keep(keptBytesMax, this.#replayMemory) : undefined;
    let answer: http.IncomingMessage;
    try {
      answer = await this.#ask(this.target, visit, {
        headers: this.entrance.headersFor(request),
        retryMs: TARGET_RETRY_MS,
      });
    } catch (error) {
      client.assert();
      return this.#refuse(request, response, silentTarget(this.target.origin, error));
    }
    if (!decision.marked) {
      return this.#relay(answer, visit, responseHeaders(answer.rawHeaders, { keepOurs: false }));
    }
    const wish = headerValue(answer.rawHeaders, 'fly-replay');
    if (kept && wish !== undefined) return this.#replay(wish, answer, kept, visit);
    const flushed = decision.cookie
      ? await this.node.flush()
      : { txids: this.node.facts().txids, isCertain: true };
    const headers = responseHeaders(answer.rawHeaders, { keepOurs: false });
    if (setsTxidCookie(headers)) this.node.warn(COOKIE_CONFLICT);
    else if (decision.cookie && flushed.txids.size > 0) {
      const { term } = this.node.membership();
      headers.push('Set-Cookie', txidSetCookie(flushed, term, this.#realm(), Date.now()));
    }
    headers.push(...this.ownHeaders(formatTxids(flushed.txids, this.settings.databases)));
    return this.#relay(answer, visit, relaxTxnumCookie(headers));
  }

  #realm(): CookieRealm {
    const { secret, databases } = this.settings;
    return { secret, databases, clusterId: this.node.membership().clusterId };
  }

  /** `kept`: the body, when it has been read already. */
  async #toPrimary(url: string, visit: Visit, kept: KeptBody | undefined): Promise<void> {
    const { request, response, client } = visit;
    const { primaryMs } = this.settings;
    const { hostname } = this.node.facts();
    let answer: http.IncomingMessage;
    try {
      answer = await this.#ask(this.upstreamOf(url), visit, {
        headers: this.entrance.headersFor(request, hostname),
        retryMs: primaryMs,
        sent: kept,
      });
    } catch (error) {
      client.assert();
      return this.#refuse(request, response, silentPrimary(url, error));
    }
    await this.#relay(answer, visit, responseHeaders(answer.rawHeaders, { keepOurs: true }));
  }

  /** The application wants another node to answer. Its own answer is dropped. */
  async #replay(
    wish: string,
    answer: http.IncomingMessage,
    kept: KeptBody,
    visit: Visit,
  ): Promise<void> {
    const { request, response, body, client } = visit;
    answer.resume();
    const facts = this.node.facts();
    const meant = replayWish(wish, facts);
    if (meant.kind === 'impossible') {
      return this.#refuse(request, response, refuse(502, meant.reason));
    }
    if (facts.primaryUrl === undefined) {
      const name = facts.primaryHostname ?? 'the primary';
      const text = `${facts.hostname} does not know where the proxy of ${name} is`;
      return this.#refuse(request, response, refuse(503, text));
    }
    const decision = forwardTo(facts.primaryUrl, facts);
    if (decision.to === 'refuse') return this.#refuse(request, response, decision);
    // `complete` is when it has come, also with a part of it that nobody has read.
    if (body.exists && !request.readableEnded) {
      body.drain();
      await ended(request, client);
    }
    if (kept.isCrowded) {
      const text =
        'the application asks for a replay, and bodies of others take all of proxy.replay-memory';
      return this.#refuse(request, response, refuse(503, text));
    }
    if (!kept.complete) {
      const text = `the application asks for a replay, and the body is larger than ${kept.bytesMax} bytes (proxy.replay-body)`;
      return this.#refuse(request, response, refuse(502, text));
    }
    return this.#toPrimary(decision.url, visit, kept);
  }

  /** Sends the request; `sent`: in the place of its body. */
  async #ask(
    upstream: Upstream,
    { request, response, body, client }: Visit,
    options: { headers: string[]; retryMs: number; sent?: KeptBody },
  ): Promise<http.IncomingMessage> {
    const { headers, retryMs, sent } = options;
    const method = request.method ?? 'GET';
    const path = originForm(request.url ?? '/');
    const head = { method, path, headers: framed(headers, request, sent) };
    // What is replayed is a write to the application, whatever it looks like; and so may be what another node forwards.
    const mayRepeat =
      !sent &&
      !body.exists &&
      request.headers[FORWARDED_BY] === undefined &&
      isRepeatable(this.kindOf(request), method);
    for (let fresh = !mayRepeat; ; fresh = true) {
      const upward = await upstream.open(head, { retryMs, fresh, client });
      const answered = answerOf(upward);
      passHints(upward, request, response);
      if (sent) for (const chunk of sent.chunks) upward.write(chunk);
      if (sent || !body.exists) upward.end();
      else body.sendTo(upward);
      try {
        return await answered;
      } catch (error) {
        // A connection that was kept may have been closed just then. Nothing came of it: once more, by a new one.
        if (!mayRepeat || fresh || !upward.reusedSocket || client.gone) throw error;
      }
    }
  }

  /** Streams an answer to the client. */
  async #relay(
    answer: http.IncomingMessage,
    { request, response, body }: Visit,
    headers: readonly string[],
  ): Promise<void> {
    response.sendDate = false;
    response.writeHead(answer.statusCode ?? 502, answer.statusMessage ?? '', [...headers]);
    await new Promise<void>((resolve) => {
      let begun = false;
      answer.on('error', () => response.destroy());
      answer.on('data', (chunk: Buffer) => {
        begun = true;
        if (response.write(chunk)) return;
        answer.pause();
        response.once('drain', () => answer.resume());
      });
      answer.on('end', () => {
        begun = true;
        if (answer.rawTrailers.length > 0) response.addTrailers(trailerPairs(answer.rawTrailers));
        response.end();
        // One that is still held back is not wanted: Node ends the connection.
        if (body.exists && !request.readableEnded && !body.held) body.drain();
      });
      response.on('close', () => {
        if (!answer.complete) answer.destroy();
        resolve();
      });
      // With the first of the body, if that is here already: one packet in the place of two.
      setImmediate(() => {
        if (!begun) response.flushHeaders();
      });
    });
  }

  /** The primary's proxy; pooled as long as it is the same. */
  upstreamOf(url: string): Upstream {
    if (this.#primary?.url === url) return this.#primary.upstream;
    this.#primary?.upstream.close();
    const { hostname, port } = new URL(url);
    const host = hostname.replace(/^\[|\]$/g, '');
    const upstream = new Upstream({ host, port: Number(port) || 80 }, this.#descriptorsMax);
    this.#primary = { url, upstream };
    return upstream;
  }

  /** What each answer says of this node; `txids`: how far its databases are. */
  ownHeaders(txids: string): string[] {
    if (!this.settings.responseHeaders) return [];
    const { isPrimary, hostname } = this.node.facts();
    const lagMs = this.node.lagMs();
    return [
      ...(txids === '' ? [] : ['litefs-txid', txids]),
      'litefs-role',
      isPrimary ? 'primary' : 'replica',
      'litefs-node',
      hostname,
      ...(isPrimary || lagMs === undefined ? [] : ['litefs-lag-ms', `${Math.round(lagMs)}`]),
    ];
  }

  #refuse(request: http.IncomingMessage, response: http.ServerResponse, refusal: Refusal): void {
    this.#end(request, response, ofRefusal(refusal));
  }

  #end(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    { headers, ...rest }: OwnAnswer,
  ): void {
    end(request, response, { ...rest, headers: [...headers, ...this.ownHeaders('')] });
  }
}

/** The client does not go on with its body. */
export function endStalled(request: http.IncomingMessage, response: http.ServerResponse): void {
  end(request, response, ofRefusal(refuse(408, 'the body does not come (proxy.progress-timeout)')));
}

/** An answer of our own. */
function end(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  answer: OwnAnswer,
): void {
  // What is left of the body would be taken for the next request; and who sent what is none, may mean more by it.
  const isLast = !request.complete || answer.status === 400;
  const close = isLast ? ['Connection', 'close'] : [];
  response.writeHead(answer.status, [...headersOf(answer), ...close]);
  response.end(answer.text);
}

/** With the framing of the body that is sent: what came in chunks goes on in chunks, what is kept has its length. */
function framed(
  headers: readonly string[],
  request: http.IncomingMessage,
  sent: KeptBody | undefined,
): string[] {
  if (sent) {
    const bytes = sent.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    const plain = withoutHeader(withoutHeader(headers, 'expect'), 'content-length');
    return [...plain, 'Content-Length', `${bytes}`];
  }
  if (request.headers['transfer-encoding'] === undefined) return [...headers];
  return [...headers, 'Transfer-Encoding', 'chunked'];
}

function ended(request: http.IncomingMessage, client: Presence): Promise<void> {
  return new Promise((resolve, reject) => {
    request.once('end', resolve);
    client.signal.addEventListener('abort', () => reject(new ClientGone()), { once: true });
  });
}
