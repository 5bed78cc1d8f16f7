/**
 * One replica, from the side that it follows: handshake, then a feed for each database until the
 * connection ends.
 *
 *     replica                        server
 *     HELLO            →
 *                      ←             HELLO
 *     AUTH             →
 *                      ←             AUTH, WELCOME          or REJECT
 *     SUBSCRIBE        →
 *                      ←             SUBSCRIBED, then ENTRY…, RESYNC…, HEARTBEAT each second
 *     ACK, PING, REQUEST, CHECKSUMS  →
 */
import { LiteFsError } from '../errors.ts';
import { judgePeer, type Verdict } from '../lease/judge.ts';
import type { Position } from '../ltx/position.ts';
import { isProof, proof } from './auth.ts';
import { DatabaseFeed } from './feed.ts';
import { FRAME_TYPES, type Frame, frameName } from './frame.ts';
import {
  decodeChecksums,
  decodeHello,
  decodePositions,
  decodeRequest,
  encodeDropped,
  encodeHeartbeat,
  encodeHello,
  encodePositions,
  encodeReject,
  FEATURE_ZSTD,
  type Hello,
} from './messages.ts';
import {
  type Clock,
  HEARTBEAT_MS,
  type LocalNode,
  type ReplicationLogger,
  SILENCE_MS_MAX,
} from './parts.ts';
import type { LogEntry, ReplicationStore } from './store.ts';
import type { FrameTransport } from './transport.ts';

/** What is known of a connected replica. */
export interface ReplicaInfo {
  readonly nodeId: string;
  readonly hostname: string;
  readonly address: string;
  readonly connectedAtMs: number;
  /** Applied, by database. */
  readonly positions: ReadonlyMap<string, Position>;
}

export interface ServerSessionParts {
  readonly transport: FrameTransport;
  readonly address: string;
  /** Whether to compress, when the other side can. */
  readonly compress: boolean;
  readonly store: ReplicationStore;
  readonly local: () => LocalNode;
  readonly secret: string | undefined;
  readonly nonce: Buffer;
  readonly clock: Clock;
  readonly log: ReplicationLogger;
  /** On a replica that serves others: who the primary is, and how far behind we are, ms. */
  readonly upstream: () => { hostname: string; lagMs: number };
  readonly events: {
    /** It follows us from now on. */
    welcomed(session: ServerSession): void;
    refused(verdict: Verdict, peer: Hello): void;
    acked(session: ServerSession): void;
    closed(session: ServerSession): void;
  };
}

type State = 'hello' | 'auth' | 'welcomed' | 'subscribed';

export class ServerSession {
  readonly #parts: ServerSessionParts;
  readonly #feeds = new Map<string, DatabaseFeed>();
  readonly #acked = new Map<string, Position>();
  readonly #told = new Map<string, Position>();
  readonly #connectedAtMs: number;
  #state: State = 'hello';
  #peer: Hello | undefined;
  #heardMs: number;
  #timer: NodeJS.Timeout;
  #undo: (() => void)[] = [];

  constructor(parts: ServerSessionParts) {
    this.#parts = parts;
    this.#connectedAtMs = parts.clock.wallMs();
    this.#heardMs = parts.clock.monotonicMs();
    this.#timer = setInterval(() => this.#tick(), HEARTBEAT_MS);
    parts.transport.start({
      frame: (frame) => this.#frame(frame),
      closed: (error) => this.#closed(error),
    });
  }

  info(): ReplicaInfo | undefined {
    if (this.#state !== 'subscribed' || !this.#peer) return undefined;
    const { nodeId, hostname } = this.#peer;
    const { address } = this.#parts;
    return {
      nodeId,
      hostname,
      address,
      connectedAtMs: this.#connectedAtMs,
      positions: this.#acked,
    };
  }

  /** Sends what is pending and closes. */
  end(): void {
    this.#parts.transport.end();
  }

  /** Closes at once. */
  destroy(): void {
    this.#parts.transport.destroy();
  }

  #frame({ type, payload }: Frame): void {
    this.#heardMs = this.#parts.clock.monotonicMs();
    const state = this.#state;
    if (type === FRAME_TYPES.HELLO && state === 'hello') this.#hello(decodeHello(payload));
    else if (type === FRAME_TYPES.AUTH && state === 'auth') this.#auth(payload);
    else if (type === FRAME_TYPES.SUBSCRIBE && state === 'welcomed')
      this.#subscribe(decodePositions(payload));
    else if (state !== 'subscribed') throw outOfOrder(type);
    else if (type === FRAME_TYPES.ACK) this.#ack(decodePositions(payload));
    else if (type === FRAME_TYPES.REQUEST) this.#request(payload);
    else if (type === FRAME_TYPES.CHECKSUMS) {
      const part = decodeChecksums(payload);
      this.#feeds.get(part.database)?.checksums(part);
    } else if (type !== FRAME_TYPES.PING) throw outOfOrder(type);
  }

  #hello(peer: Hello): void {
    this.#peer = peer;
    this.#state = 'auth';
    const { transport, local, nonce, compress } = this.#parts;
    const me = local();
    transport.send(
      'HELLO',
      encodeHello({
        ...me,
        advertiseUrl: me.advertiseUrl ?? '',
        features: compress ? FEATURE_ZSTD : 0,
        nonce,
        primaryHostname: this.#parts.upstream().hostname,
      }),
    );
  }

  #auth(given: Buffer): void {
    const { transport, secret, local, nonce, compress, events } = this.#parts;
    const peer = this.#peer as Hello;
    const me = local();
    const context = {
      clientNonce: peer.nonce,
      serverNonce: nonce,
      clientId: peer.nodeId,
      serverId: me.nodeId,
    };
    if (!isProof(given, secret, 'client', context)) {
      this.#refuse('wrong-secret', `the secret of ${peer.hostname} is not that of ${me.hostname}`);
      return;
    }
    transport.send('AUTH', proof(secret, 'server', context));
    const verdict = judgePeer(me, peer);
    if (verdict) {
      events.refused(verdict, peer);
      this.#refuse(verdict.code, verdict.text);
      return;
    }
    if (peer.role === 'primary' || me.clusterId === '') {
      this.#refuse('not-yet', `${me.hostname} has not met its primary yet`);
      return;
    }
    transport.send('WELCOME');
    if (compress && (peer.features & FEATURE_ZSTD) !== 0) transport.compress();
    this.#state = 'welcomed';
  }

  #refuse(code: string, text: string): void {
    const { transport, log, address } = this.#parts;
    log.warn({ peer: address, reason: code }, `refused a connection from ${address}: ${text}`);
    transport.send('REJECT', encodeReject(code, text));
    transport.end();
  }

  #subscribe(theirs: Map<string, Position>): void {
    const { store, transport, events, log, address } = this.#parts;
    this.#state = 'subscribed';
    const ours = store.positions();
    transport.send('SUBSCRIBED', encodePositions(ours));
    for (const [name, position] of theirs) this.#acked.set(name, position);
    for (const [name, position] of ours) this.#told.set(name, position);
    // From here on nothing is missed: what is not in the log yet comes as an entry.
    this.#undo.push(
      store.onEntry((entry) => this.#entry(entry)),
      store.onDrop((name) => this.#dropped(name)),
    );
    for (const name of new Set([...ours.keys(), ...theirs.keys()])) {
      this.#follow(name, theirs.get(name) ?? { txid: 0, checksum: 0n });
    }
    for (const name of theirs.keys()) if (!ours.has(name)) this.#dropped(name);
    log.info({ peer: address }, `${this.#peer?.hostname} (${address}) follows this node`);
    events.welcomed(this);
  }

  #follow(database: string, position: Position): DatabaseFeed {
    const { store, transport, log } = this.#parts;
    const hostname = this.#peer?.hostname;
    const feed = new DatabaseFeed({
      database,
      position,
      store,
      transport,
      events: {
        resync: (text, fields) => log.info({ peer: hostname, ...fields }, `${hostname}: ${text}`),
        failed: (error) => {
          log.error({ database, peer: hostname, err: error }, `${database}: ${error.message}`);
          transport.destroy(error);
        },
      },
    });
    this.#feeds.set(database, feed);
    return feed;
  }

  #entry(entry: LogEntry): void {
    const feed = this.#feeds.get(entry.database);
    if (feed) feed.entry(entry);
    else this.#follow(entry.database, { txid: 0, checksum: 0n });
  }

  /** The drop itself is an entry of the log; this tells it to a replica for which the log does not have it. */
  #dropped(database: string): void {
    const { store, transport } = this.#parts;
    const had = this.#acked.get(database);
    this.#feeds.get(database)?.close();
    this.#feeds.delete(database);
    if (store.positions().has(database)) return;
    const ours = this.#told.has(database);
    transport.send('DROPPED', encodeDropped(database, !ours && (had?.txid ?? 0) > 0));
    this.#told.delete(database);
    this.#acked.delete(database);
  }

  #ack(positions: Map<string, Position>): void {
    for (const [name, position] of positions) this.#acked.set(name, position);
    this.#parts.events.acked(this);
  }

  #request(payload: Buffer): void {
    const { database, position, pages } = decodeRequest(payload);
    const feed = this.#feeds.get(database) ?? this.#follow(database, position);
    feed.requested(position, pages);
  }

  #tick(): void {
    const { clock, transport, store, upstream } = this.#parts;
    if (clock.monotonicMs() - this.#heardMs > SILENCE_MS_MAX) {
      transport.destroy(new LiteFsError('PEER_UNREACHABLE', 'nothing heard from it for 10 s'));
      return;
    }
    if (this.#state !== 'subscribed') return;
    const positions = new Map<string, Position>();
    for (const [name, position] of store.positions()) {
      if (this.#told.get(name) === position) continue;
      this.#told.set(name, position);
      positions.set(name, position);
    }
    const { lagMs } = upstream();
    transport.send('HEARTBEAT', encodeHeartbeat({ clockMs: clock.wallMs(), lagMs, positions }));
  }

  #closed(error: Error | undefined): void {
    clearInterval(this.#timer);
    for (const undo of this.#undo) undo();
    for (const feed of this.#feeds.values()) feed.close();
    const { log, address, events } = this.#parts;
    if (this.#state === 'subscribed') {
      const why = error ? `: ${error.message}` : '';
      log.info(
        { peer: address },
        `${this.#peer?.hostname} (${address}) no longer follows this node${why}`,
      );
    } else if (error instanceof LiteFsError) {
      log.warn({ peer: address }, `a connection from ${address} came to nothing: ${error.message}`);
    }
    events.closed(this);
  }
}

function outOfOrder(type: number): LiteFsError {
  return new LiteFsError('PROTOCOL', `a ${frameName(type)} frame out of order`);
}
