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
 *     HALT, ENTRY…, UNHALT, VERIFY   →
 *                      ←             ANSWERED, HALTED, COMMITTED, VERIFIED
 */
import { LiteFsError } from '../errors.ts';
import { judgePeer, type Verdict } from '../lease/judge.ts';
import { type Position, ZERO_POSITION } from '../ltx/position.ts';
import { nameMatcher } from '../patterns.ts';
import type { LogEntry } from '../store/log-entry.ts';
import { VERSION } from '../version.ts';
import { Acknowledged, type Ours } from './acknowledged.ts';
import { isProof, proof } from './auth.ts';
import { DatabaseFeed } from './feed.ts';
import { FRAME_TYPES, type Frame, frameName } from './frame.ts';
import { HaltLender } from './halt-lender.ts';
import {
  decodeChecksums,
  decodeHello,
  decodePositions,
  decodeRequest,
  decodeSubscription,
  encodeDropped,
  encodeHeartbeat,
  encodeHello,
  encodeName,
  encodePositions,
  encodeReject,
  FEATURE_ANSWERED,
  FEATURE_HALT,
  FEATURE_OWNERSHIP,
  FEATURE_TROUBLES,
  FEATURE_VERIFY,
  FEATURE_ZSTD,
  type Hello,
  helloVersion,
  PROTOCOL_VERSION,
  type Subscription,
} from './messages.ts';
import { OwnershipTeller } from './ownership-teller.ts';
import {
  type Clock,
  type HaltHost,
  HEARTBEAT_MS,
  type LocalNode,
  type ReplicaInfo,
  type ReplicationLogger,
  type Upstream,
  type VerifyHost,
} from './parts.ts';
import { Patience, type Standing } from './patience.ts';
import type { ReplicationStore } from './store.ts';
import type { FrameTransport } from './transport.ts';
import { TroublesTeller } from './troubles-teller.ts';
import { VerifyAnswerer } from './verify-answerer.ts';

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
  readonly upstream: () => Upstream;
  readonly halts: HaltHost;
  readonly verifier: VerifyHost;
  /** Whether it may write here under the halt lock: not a stranger, as anybody is without a secret. */
  readonly mayWrite: () => boolean;
  readonly events: {
    /** It has proved that it knows the secret. */
    authenticated(session: ServerSession): void;
    /** It follows us from now on. */
    welcomed(session: ServerSession): void;
    refused(verdict: Verdict, peer: Hello): void;
    acked(session: ServerSession): void;
    closed(session: ServerSession): void;
  };
}

type State = 'hello' | 'auth' | 'welcomed' | 'subscribed' | 'refused';

const STANDINGS: Readonly<Record<State, Standing>> = {
  hello: 'stranger',
  auth: 'stranger',
  welcomed: 'guest',
  subscribed: 'follower',
  refused: 'refused',
};

export class ServerSession {
  readonly #parts: ServerSessionParts;
  readonly #feeds = new Map<string, DatabaseFeed>();
  readonly #acked: Acknowledged;
  readonly #told = new Map<string, Position>();
  readonly #lender: HaltLender;
  readonly #answerer: VerifyAnswerer;
  #troubles: TroublesTeller | undefined;
  #ownerships: OwnershipTeller | undefined;
  readonly #patience: Patience;
  readonly #connectedAtMs: number;
  /** The revision of our positions that it was told. */
  #toldRevision: number | undefined;
  #state: State = 'hello';
  #peer: Hello | undefined;
  #wanted: (database: string) => boolean = () => true;
  #timer: NodeJS.Timeout;
  #undo: (() => void)[] = [];

  constructor(parts: ServerSessionParts) {
    this.#parts = parts;
    this.#lender = new HaltLender({
      ...parts,
      spoolDir: parts.store.spoolDir,
      committed: (database, position) => {
        this.#acked.set(database, position, position);
        parts.events.acked(this);
      },
    });
    this.#answerer = new VerifyAnswerer(parts.transport, parts.verifier);
    this.#connectedAtMs = parts.clock.wallMs();
    this.#patience = new Patience(parts.clock);
    this.#acked = new Acknowledged(parts.clock);
    this.#timer = setInterval(() => this.#tick(), HEARTBEAT_MS);
    parts.transport.start({
      frame: (frame) => this.#frame(frame),
      closed: (error) => this.#closed(error),
    });
  }

  /** Whether the peer follows us now. */
  get isFollowed(): boolean {
    return this.#state === 'subscribed';
  }

  info(): ReplicaInfo | undefined {
    if (!this.isFollowed || !this.#peer) return undefined;
    const { nodeId, hostname, release } = this.#peer;
    return {
      nodeId,
      hostname,
      release,
      address: this.#parts.address,
      connectedAtMs: this.#connectedAtMs,
      behindMs: this.#acked.behindMs(this.#ours()),
      positions: this.#acked.shown(this.#parts.store.positions()),
      wants: this.#wanted,
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
    const state = this.#state;
    if (state === 'refused') return;
    if (type === FRAME_TYPES.HELLO && state === 'hello') this.#hello(payload);
    else if (type === FRAME_TYPES.AUTH && state === 'auth') this.#auth(payload);
    else if (type === FRAME_TYPES.SUBSCRIBE && state === 'welcomed')
      this.#subscribe(decodeSubscription(payload));
    else if (state !== 'subscribed') throw outOfOrder(type);
    else if (type === FRAME_TYPES.ACK) this.#ack(decodePositions(payload));
    else if (type === FRAME_TYPES.REQUEST) this.#request(payload);
    else if (this.#lender.frame(type, payload, this.#peer as Hello)) return;
    else if (type === FRAME_TYPES.VERIFY && (this.#peer as Hello).features & FEATURE_VERIFY)
      this.#answerer.verify(payload, this.#wanted);
    else if (type === FRAME_TYPES.CHECKSUMS) {
      const part = decodeChecksums(payload);
      this.#feeds.get(part.database)?.checksums(part);
    } else if (type !== FRAME_TYPES.PING) throw outOfOrder(type);
  }

  #hello(payload: Buffer): void {
    const { transport, local, nonce, compress } = this.#parts;
    const me = local();
    const version = helloVersion(payload);
    if (version !== PROTOCOL_VERSION) {
      this.#refuse(
        'version',
        `${me.hostname} speaks version ${PROTOCOL_VERSION} of the protocol, the node that asks ` +
          `version ${version}: install the same release on both`,
      );
      return;
    }
    this.#peer = decodeHello(payload);
    this.#state = 'auth';
    transport.send(
      'HELLO',
      encodeHello({
        ...me,
        advertiseUrl: me.advertiseUrl ?? '',
        features: FEATURE_ANSWERED | FEATURE_HALT | FEATURE_VERIFY | (compress ? FEATURE_ZSTD : 0),
        nonce,
        primaryHostname: this.#parts.upstream().hostname,
        primaryProxy: this.#parts.upstream().proxy,
        release: VERSION,
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
    events.authenticated(this);
    transport.trust();
    transport.send('AUTH', proof(secret, 'server', context));
    const verdict = judgePeer(me, peer);
    if (verdict) {
      events.refused(verdict, peer);
      this.#refuse(verdict.code, verdict.text);
      return;
    }
    if (peer.role === 'primary') {
      this.#refuse('not-primary', `${me.hostname} is a replica, and ${peer.hostname} a primary`);
      return;
    }
    if (me.clusterId === '') {
      this.#refuse('not-yet', `${me.hostname} has not met its primary yet`);
      return;
    }
    const { knowsAll, away } = this.#parts.upstream();
    if (!knowsAll) {
      // Databases that are still on their way here would be taken for dropped; see docs/protocol.md, *Chains*.
      const why = away === '' ? '' : `: it is ${away}`;
      this.#refuse('not-yet', `${me.hostname} has not caught up with its primary yet${why}`);
      return;
    }
    transport.send('WELCOME');
    if (compress && (peer.features & FEATURE_ZSTD) !== 0) transport.compress();
    this.#state = 'welcomed';
  }

  #refuse(code: string, text: string): void {
    const { transport, log, address } = this.#parts;
    this.#state = 'refused';
    log.warn({ peer: address, reason: code }, `refused a connection from ${address}: ${text}`);
    transport.send('REJECT', encodeReject(code, text));
    transport.end();
  }

  #subscribe({ positions: theirs, patterns }: Subscription): void {
    const { store, transport, events, log, address } = this.#parts;
    this.#state = 'subscribed';
    this.#wanted = nameMatcher(patterns);
    const ours = this.#offered();
    transport.send('SUBSCRIBED', encodePositions(ours));
    const { features } = this.#peer as Hello;
    if (features & FEATURE_OWNERSHIP) this.#ownerships = new OwnershipTeller(transport, store);
    if (features & FEATURE_TROUBLES) this.#troubles = new TroublesTeller(transport);
    this.#tellTroubles();
    for (const [name, position] of ours) this.#told.set(name, position);
    // From here on nothing is missed: what is not in the log yet comes as an entry.
    this.#undo.push(
      store.onEntry((entry) => this.#entry(entry)),
      store.onDrop((name, isInLog) => this.#dropped(name, isInLog)),
      store.onOwnership((name) => this.#wanted(name) && this.#ownerships?.tell(name)),
    );
    const ended = store.ended();
    for (const name of new Set([...ours.keys(), ...theirs.keys()])) {
      if (!this.#wanted(name)) continue;
      const had = theirs.get(name) ?? ZERO_POSITION;
      const isAside = store.isAside(name);
      const isHere = ours.has(name);
      if (had.checksum && (isHere || isAside)) this.#acked.set(name, had, ours.get(name));
      if (isAside) continue;
      // At no position: somebody has put it there.
      if (isHere || (had.txid > 0 && ended.has(name))) this.#follow(name, had);
      else this.#gone(name, had.txid === 0 || had.checksum !== 0n);
    }
    log.info({ peer: address }, `${this.#peer?.hostname} (${address}) follows this node`);
    events.welcomed(this);
  }

  /** Our databases, of those that the replica wants. */
  #offered(): Map<string, Position> {
    return new Map([...this.#parts.store.positions()].filter(([name]) => this.#wanted(name)));
  }

  #follow(database: string, position: Position): DatabaseFeed {
    const { store, transport, log } = this.#parts;
    const hostname = this.#peer?.hostname;
    this.#ownerships?.tell(database);
    const feed = new DatabaseFeed({
      database,
      position,
      store,
      transport,
      events: {
        resync: (text, fields) => log.info({ peer: hostname, ...fields }, `${hostname}: ${text}`),
        gone: (diverged) => this.#gone(database, diverged),
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
    if (feed && this.#lender.isCommitting(entry.database)) feed.passOver(entry);
    else if (feed) feed.entry(entry);
    else if (this.#wanted(entry.database))
      this.#follow(entry.database, this.#acked.get(entry.database));
  }

  /** The end of a database is an entry, behind which its name may begin anew: the feed leads there, if it can. In quarantine it has none. */
  #dropped(database: string, isInLog: boolean): void {
    if (!this.#wanted(database)) return;
    const feed = this.#feeds.get(database);
    const isDiverged = feed?.isDiverged ?? this.#acked.get(database).checksum !== 0n;
    if (!isInLog || feed?.isResyncing) this.#gone(database, isDiverged);
    else this.#acked.delete(database);
  }

  /** Has the replica forget a database that is not here: what is made under the name next is a beginning. */
  #gone(database: string, diverged: boolean): void {
    this.#feeds.get(database)?.close();
    this.#feeds.delete(database);
    this.#told.delete(database);
    this.#acked.delete(database);
    this.#parts.transport.send('DROPPED', encodeDropped(database, diverged));
  }

  #ours(): Ours {
    return { revision: this.#parts.store.revision, positions: () => this.#offered() };
  }

  /** Positions that it was not told yet; their feeds hear of them, too. */
  #news(): Map<string, Position> {
    const news = new Map<string, Position>();
    const { revision } = this.#parts.store;
    if (revision === this.#toldRevision) return news;
    this.#toldRevision = revision;
    for (const [name, position] of this.#offered()) {
      if (this.#told.get(name) === position) continue;
      this.#told.set(name, position);
      news.set(name, position);
      const feed = this.#feeds.get(name);
      if (feed) feed.moved(position);
      else this.#follow(name, this.#acked.get(name));
    }
    return news;
  }

  #ack(positions: Map<string, Position>): void {
    // One may come late, when what it tells of has gone: what is made under the name next does not follow that.
    const ours = this.#parts.store.positions();
    for (const [name, position] of positions) {
      if (ours.has(name) && this.#feeds.has(name)) this.#acked.set(name, position, ours.get(name));
    }
    this.#parts.events.acked(this);
  }

  #request(payload: Buffer): void {
    const { database, position, pages } = decodeRequest(payload);
    const { store, transport } = this.#parts;
    if (!this.#wanted(database)) return;
    const isAside = store.isAside(database);
    const isKnown = store.positions().has(database) || store.ended().has(database);
    const had = this.#feeds.get(database);
    if (isAside) this.#acked.set(database, position, undefined);
    else if (had ?? isKnown) (had ?? this.#follow(database, position)).requested(position, pages);
    if ((this.#peer as Hello).features & FEATURE_ANSWERED)
      transport.send('ANSWERED', encodeName(database));
    // There never was one, or it has gone: nothing is kept for a name that the peer has made up.
    if (!isAside && !had && !isKnown) this.#gone(database, position.checksum !== 0n);
    // It may not have been able to take that either.
    this.#ownerships?.tell(database);
  }

  #tick(): void {
    const { clock, transport, upstream } = this.#parts;
    const end = this.#patience.end(STANDINGS[this.#state], transport);
    if (end) {
      transport.destroy(end);
      return;
    }
    if (this.#state !== 'subscribed') return;
    this.#acked.look(this.#ours());
    const positions = this.#news();
    this.#tellTroubles();
    const { lagMs } = upstream();
    transport.send('HEARTBEAT', encodeHeartbeat({ clockMs: clock.wallMs(), lagMs, positions }));
  }

  #tellTroubles(): void {
    this.#troubles?.tell(
      this.#parts.upstream().troubles.filter(({ database }) => this.#wanted(database)),
    );
  }

  #closed(error: Error | undefined): void {
    clearInterval(this.#timer);
    this.#lender.close();
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
