/**
 * One connection of a replica to the node that it follows: handshake (see server-session.ts), then everything
 * that comes is handed to the receiver of its database.
 */
import { LiteFsError } from '../errors.ts';
import { judgePeer } from '../lease/judge.ts';
import type { Position } from '../ltx/position.ts';
import { nameMatcher } from '../patterns.ts';
import { nameText } from '../store/layout.ts';
import { VERSION } from '../version.ts';
import { isProof, proof } from './auth.ts';
import { ChecksumSender } from './checksum-sender.ts';
import { EntrySpools } from './entry-spools.ts';
import { FRAME_TYPES, type Frame, frameName } from './frame.ts';
import { HaltBorrower } from './halt-borrower.ts';
import {
  bytesOf,
  decodeCommitted,
  decodeDropped,
  decodeEntryBegin,
  decodeHalted,
  decodeHeartbeat,
  decodeHello,
  decodeName,
  decodeNamed,
  decodeNamedParts,
  decodeNamedPosition,
  decodePositions,
  decodeReject,
  decodeResyncBegin,
  decodeTroubles,
  encodeHello,
  encodePositions,
  encodeRequest,
  encodeSubscription,
  FEATURE_ANSWERED,
  FEATURE_HALT,
  FEATURE_OWNERSHIP,
  FEATURE_TROUBLES,
  FEATURE_VERIFY,
  FEATURE_ZSTD,
  type Heartbeat,
  type Hello,
} from './messages.ts';
import { decodeOwnership } from './ownership-messages.ts';
import {
  type Clock,
  HEARTBEAT_MS,
  type LocalNode,
  type ReplicationLogger,
  SILENCE_MS_MAX,
  type Trouble,
} from './parts.ts';
import type { DatabaseReceiver, ReceiverEvents } from './receiver.ts';
import { Receivers } from './receivers.ts';
import { Silence } from './silence.ts';
import type { ReplicationStore } from './store.ts';
import type { FrameTransport } from './transport.ts';
import { VerifyAsker } from './verify-asker.ts';
import { decodeVerified } from './verify-messages.ts';

export interface ClientSessionParts {
  readonly transport: FrameTransport;
  readonly store: ReplicationStore;
  readonly local: () => LocalNode;
  readonly secret: string | undefined;
  readonly nonce: Buffer;
  readonly clock: Clock;
  readonly log: ReplicationLogger;
  readonly compress: boolean;
  /** Which databases to follow; undefined: all. */
  readonly patterns: readonly string[] | undefined;
  /** Databases that an earlier connection has left something of on its way into the store, until it is there. */
  readonly held: ReadonlyMap<string, Promise<void>>;
  readonly events: {
    /** The handshake is done. */
    connected(server: Hello): void;
    /** Where the server's databases stand: at first all of them. */
    positions(positions: Map<string, Position>): void;
    heartbeat(heartbeat: Heartbeat): void;
    /** Databases that are not replicated at present at the server, or where it has them from: all there are. */
    troubles(troubles: readonly Trouble[]): void;
    applied(database: string, position: Position): void;
    dropped(database: string): void;
    closed(error: Error | undefined): void;
  };
}

/** More than this taken in and not applied: nothing more is read from the socket. */
const IN_FLIGHT_BYTES_MAX = 16 << 20;
/** Nothing of that was applied for so long: whose it is does not hold up the others any more. */
const STALL_MS = 10_000;
/** Ends of databases that the server is told of, the newest: there may be any number. Those of others begin from nothing. */
const ENDED_MAX = 1000;
const FEATURES =
  FEATURE_ANSWERED | FEATURE_HALT | FEATURE_OWNERSHIP | FEATURE_TROUBLES | FEATURE_VERIFY;
type State = 'hello' | 'auth' | 'welcome' | 'subscribing' | 'following';

export class ClientSession {
  /** Rejects all when the connection is gone. */
  readonly halts: HaltBorrower;
  /** As halts. */
  readonly verifies: VerifyAsker;
  readonly #parts: ClientSessionParts;
  readonly #receivers: Receivers;
  readonly #checksums: ChecksumSender;
  readonly #spools: EntrySpools;
  readonly #silence: Silence;
  readonly #acks = new Map<string, Position>();
  readonly #wanted: (database: string) => boolean;
  readonly #timer: NodeJS.Timeout;
  #state: State = 'hello';
  #server: Hello | undefined;
  #inFlight = 0;
  #paused = false;
  /** When something was applied while paused, or the pause began; monotonic ms. */
  #progressMs = 0;
  #ackQueued = false;

  constructor(parts: ClientSessionParts) {
    this.#parts = parts;
    this.halts = new HaltBorrower(parts.transport);
    this.verifies = new VerifyAsker(parts.transport);
    this.#spools = new EntrySpools(parts.store.spoolDir);
    this.#wanted = nameMatcher(parts.patterns);
    this.#receivers = new Receivers({ ...parts, wanted: this.#wanted, events: this.#events() });
    this.#checksums = new ChecksumSender(parts);
    this.#silence = new Silence(parts.clock);
    this.#timer = setInterval(() => this.#tick(), HEARTBEAT_MS);
    const { transport, local, nonce, compress } = parts;
    transport.start({
      frame: (frame) => this.#frame(frame),
      closed: (error) => this.#closed(error),
    });
    const me = local();
    transport.send(
      'HELLO',
      encodeHello({
        ...me,
        advertiseUrl: me.advertiseUrl ?? '',
        features: FEATURES | (compress ? FEATURE_ZSTD : 0),
        nonce,
        primaryHostname: '',
        primaryProxy: '',
        release: VERSION,
      }),
    );
  }

  /** Whether the server can be asked for a halt lock: the primary, of a release that knows it. */
  get lendsHalts(): boolean {
    const server = this.#server;
    if (this.#state !== 'following' || !server) return false;
    return server.role === 'primary' && (server.features & FEATURE_HALT) !== 0;
  }

  /** Whether the server can be asked to verify: it has told what it has, and is of a release that knows it. */
  get canVerify(): boolean {
    return this.#state === 'following' && ((this.#server?.features ?? 0) & FEATURE_VERIFY) !== 0;
  }

  close(): void {
    this.#parts.transport.destroy();
  }

  /**
   * Resolves when nothing that was received is still on its way into the store. Only then do the store's positions
   * tell another session what to ask for.
   */
  drained(): Promise<void> {
    return this.#receivers.drained();
  }

  /** Databases of which something is still on its way into the store, until it is there. */
  busy(): Map<string, Promise<void>> {
    return this.#receivers.busy();
  }

  #frame(frame: Frame): void {
    if (this.#state === 'following' && this.#large(frame)) return;
    const { type, payload } = frame;
    if (type === FRAME_TYPES.REJECT) throw rejected(decodeReject(payload));
    switch (this.#state) {
      case 'hello':
        expect(type, FRAME_TYPES.HELLO);
        this.#hello(decodeHello(payload));
        break;
      case 'auth':
        expect(type, FRAME_TYPES.AUTH);
        this.#auth(payload);
        break;
      case 'welcome':
        expect(type, FRAME_TYPES.WELCOME);
        this.#welcome();
        break;
      case 'subscribing':
        expect(type, FRAME_TYPES.SUBSCRIBED);
        this.#state = 'following';
        this.#positions(decodePositions(payload));
        break;
      case 'following':
        this.#follow(type, payload);
    }
  }

  /** Takes what makes up large transfers as it came; false for all else. */
  #large({ type, parts: payload }: Frame): boolean {
    if (type !== FRAME_TYPES.ENTRY_CHUNK && type !== FRAME_TYPES.PAGES) return false;
    const { database, parts } = decodeNamedParts(payload);
    if (type === FRAME_TYPES.PAGES) this.#take(database, bytesOf(parts))?.pages(parts);
    else this.#spools.chunk({ database, parts });
    return true;
  }

  #hello(server: Hello): void {
    const { transport, secret } = this.#parts;
    this.#server = server;
    this.#state = 'auth';
    transport.send('AUTH', proof(secret, 'client', this.#authContext()));
  }

  #auth(given: Buffer): void {
    if (!isProof(given, this.#parts.secret, 'server', this.#authContext())) {
      throw new LiteFsError('PEER_REJECTED', 'the node that was reached does not know the secret');
    }
    this.#state = 'welcome';
  }

  #authContext() {
    const { nonce, local } = this.#parts;
    const server = this.#server as Hello;
    return {
      clientNonce: nonce,
      serverNonce: server.nonce,
      clientId: local().nodeId,
      serverId: server.nodeId,
    };
  }

  #welcome(): void {
    const { transport, store, patterns, held, compress, events, local } = this.#parts;
    const server = this.#server as Hello;
    // It has judged us; we judge it: a node may be wrong about itself.
    const verdict = judgePeer(server, local());
    if (verdict) throw new LiteFsError('PEER_REJECTED', verdict.text);
    if (server.clusterId === '') {
      // Taking that over, this node would forget its own.
      const text = `${server.hostname} lets nodes follow it, though it belongs to no cluster`;
      throw new LiteFsError('PROTOCOL', text);
    }
    transport.trust();
    if (compress && (server.features & FEATURE_ZSTD) !== 0) transport.compress();
    this.#state = 'subscribing';
    events.connected(server);
    const all = [...[...store.ended()].slice(-ENDED_MAX), ...store.positions()];
    const positions = new Map(all.filter(([name]) => this.#wanted(name)));
    transport.send('SUBSCRIBE', encodeSubscription({ positions, patterns }));
    for (const [name, done] of held) this.#receivers.of(name)?.hold(done);
  }

  #follow(type: number, payload: Buffer): void {
    switch (type) {
      case FRAME_TYPES.ENTRY: {
        const { database, bytes } = decodeNamed(payload);
        this.#take(database, bytes.length)?.entry({ bytes }, bytes.length);
        break;
      }
      case FRAME_TYPES.ENTRY_BEGIN: {
        const begin = decodeEntryBegin(payload);
        if (this.#receivers.of(begin.database)) this.#spools.begin(begin);
        break;
      }
      case FRAME_TYPES.ENTRY_END: {
        const database = decodeName(payload);
        const path = this.#spools.end(database);
        if (path !== undefined) {
          this.#take(database, IN_FLIGHT_BYTES_MAX)?.entry({ path }, IN_FLIGHT_BYTES_MAX);
        }
        break;
      }
      case FRAME_TYPES.HALTED:
        this.halts.halted(decodeHalted(payload));
        break;
      case FRAME_TYPES.COMMITTED:
        this.halts.committed(decodeCommitted(payload));
        break;
      case FRAME_TYPES.VERIFIED:
        this.verifies.verified(decodeVerified(payload));
        break;
      case FRAME_TYPES.CHECKSUMS_ASK:
        this.#checksums.ask(decodeName(payload));
        break;
      case FRAME_TYPES.RESYNC_BEGIN: {
        const begin = decodeResyncBegin(payload);
        this.#spools.drop(begin.database);
        this.#receivers.of(begin.database)?.begin(begin);
        break;
      }
      case FRAME_TYPES.RESYNC_END: {
        const { database, position } = decodeNamedPosition(payload);
        this.#receivers.of(database)?.end(position);
        break;
      }
      case FRAME_TYPES.DROPPED: {
        const { database, diverged } = decodeDropped(payload);
        this.#spools.drop(database);
        this.#receivers.of(database)?.dropped(diverged);
        this.#parts.events.dropped(database);
        break;
      }
      case FRAME_TYPES.ANSWERED: {
        const database = decodeName(payload);
        this.#spools.drop(database);
        this.#receivers.of(database)?.answered();
        break;
      }
      case FRAME_TYPES.OWNERSHIP: {
        const { database, ownership } = decodeOwnership(payload);
        this.#receivers.of(database)?.own(ownership);
        break;
      }
      case FRAME_TYPES.HEARTBEAT: {
        const heartbeat = decodeHeartbeat(payload);
        this.#positions(heartbeat.positions);
        for (const [name, position] of heartbeat.positions) {
          this.#receivers.about(name)?.compare(position);
        }
        this.#parts.events.heartbeat(heartbeat);
        break;
      }
      case FRAME_TYPES.TROUBLES: {
        const troubles = decodeTroubles(payload);
        this.#parts.events.troubles(troubles.filter(({ database }) => this.#wanted(database)));
        break;
      }
      default:
        throw new LiteFsError('PROTOCOL', `a ${frameName(type)} frame out of order`);
    }
  }

  /** At the same transaction, both must have the same content. */
  compare(database: string, theirs: Position): void {
    if (this.#state === 'following') this.#receivers.about(database)?.compare(theirs);
  }

  #positions(positions: Map<string, Position>): void {
    const wanted = [...positions].filter(([name]) => this.#wanted(name));
    this.#parts.events.positions(new Map(wanted));
  }

  /** The receiver, with so many bytes counted as in flight; undefined when the database is not wanted. */
  #take(database: string, bytes: number): DatabaseReceiver | undefined {
    const receiver = this.#receivers.of(database);
    if (!receiver) return undefined;
    this.#inFlight += bytes;
    if (!this.#paused && this.#inFlight > IN_FLIGHT_BYTES_MAX) {
      this.#paused = true;
      this.#progressMs = this.#parts.clock.monotonicMs();
      this.#parts.transport.pause();
    }
    return receiver;
  }

  #released(bytes: number): void {
    this.#inFlight -= bytes;
    this.#progressMs = this.#parts.clock.monotonicMs();
    if (this.#paused && this.#inFlight < IN_FLIGHT_BYTES_MAX / 2) {
      this.#paused = false;
      this.#silence.restart();
      this.#parts.transport.resume();
    }
  }

  #events(): ReceiverEvents {
    const { events, transport } = this.#parts;
    return {
      applied: (name, position) => {
        this.#ack(name, position);
        events.applied(name, position);
      },
      request: (name, position, pages) => {
        this.#spools.drop(name);
        if (position.txid > 0) this.#ack(name, position);
        transport.send('REQUEST', encodeRequest(name, position, pages));
        return ((this.#server as Hello).features & FEATURE_ANSWERED) !== 0;
      },
      released: (bytes) => this.#released(bytes),
      discarded: (path) => this.#spools.discard(path),
    };
  }

  /** A database cannot be applied for now, and has filled what may be in flight: the others go on without it. */
  #leaveStalled(): void {
    for (const [database, receiver] of this.#receivers) {
      if (receiver.takenBytes === 0) continue;
      const name = nameText(database);
      const text = `${name} cannot be applied for now: what comes of it is left out until it can`;
      this.#parts.log.warn({ database: name }, text);
      receiver.hold(receiver.drained());
    }
  }

  #ack(database: string, position: Position): void {
    this.#acks.set(database, position);
    if (this.#ackQueued) return;
    this.#ackQueued = true;
    setImmediate(() => {
      this.#ackQueued = false;
      this.#parts.transport.send('ACK', encodePositions(this.#acks));
      this.#acks.clear();
    });
  }

  #tick(): void {
    const { clock, transport } = this.#parts;
    if (this.#paused && clock.monotonicMs() - this.#progressMs >= STALL_MS) this.#leaveStalled();
    const silentMs = this.#silence.lasted(transport.bytesReceived);
    if (!this.#paused && silentMs > SILENCE_MS_MAX) {
      transport.destroy(new LiteFsError('PEER_UNREACHABLE', 'nothing heard from it for 10 s'));
    } else if (this.#state === 'following') {
      transport.send('PING');
    }
  }

  #closed(error: Error | undefined): void {
    clearInterval(this.#timer);
    this.#receivers.close();
    this.#spools.dropAll();
    this.halts.close();
    this.verifies.close();
    this.#parts.events.closed(error);
  }
}

function expect(type: number, wanted: number): void {
  if (type !== wanted) {
    throw new LiteFsError(
      'PROTOCOL',
      `a ${frameName(type)} frame in place of ${frameName(wanted)}`,
    );
  }
}

function rejected({ code, text }: { code: string; text: string }): LiteFsError {
  // That passes by itself.
  if (code === 'not-yet') return new LiteFsError('PEER_UNREACHABLE', text);
  const hint =
    code === 'wrong-secret' ? 'Write the same replication.secret on all nodes.' : undefined;
  return new LiteFsError('PEER_REJECTED', text, { hint });
}
