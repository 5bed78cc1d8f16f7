/** Following another node: connects, connects again, and knows how far behind this node is. */
import net from 'node:net';
import { errorText, LiteFsError } from '../errors.ts';
import { type Position, samePosition } from '../ltx/position.ts';
import { nameText } from '../store/layout.ts';
import { ClientSession } from './client-session.ts';
import { DATABASES_MAX, type Heartbeat, type Hello, NONCE_BYTES } from './messages.ts';
import {
  type Clock,
  type LocalNode,
  type OwnPages,
  type ReplicationLogger,
  type Trouble,
  troubleText,
} from './parts.ts';
import { isRemote } from './server.ts';
import type { ReceivedEntry, ReplicationStore } from './store.ts';
import { FrameTransport } from './transport.ts';

export interface ReplicationClientOptions {
  readonly store: ReplicationStore;
  readonly local: () => LocalNode;
  readonly secret: string | undefined;
  readonly log: ReplicationLogger;
  readonly clock: Clock;
  readonly random: (bytes: number) => Buffer;
  readonly target: { readonly host: string; readonly port: number };
  readonly reconnectDelayMs: number;
  /** Which databases to follow; undefined: all. */
  readonly patterns: readonly string[] | undefined;
  readonly compressFor?: (address: string) => boolean;
  readonly events: {
    /** Connected to a node of this cluster and term. */
    met(server: Hello): void;
    /** The connection is gone, and with it every halt lock. */
    lost(): void;
    /** Everything that the server had when we connected is here. Once for each connection. */
    synced(): void;
  };
}

export interface ClientState {
  readonly connected: boolean;
  /** When it connected, or was no longer connected; ms since 1970. */
  readonly sinceMs: number;
  readonly server: Hello | undefined;
  /** It does not let us follow it, or must not be followed. Tried again now and then. */
  readonly refused: boolean;
  /** Why there is no connection. */
  readonly error: string | undefined;
  readonly inSync: boolean;
  /** How far behind the primary, ms; undefined before the first sync. */
  readonly lagMs: number | undefined;
  /** The primary's clock when last heard, ms since 1970. */
  readonly primaryClockMs: number;
  /** The same less our clock at that moment; undefined before the first heartbeat. */
  readonly clockAheadMs: number | undefined;
  /** The server's positions, as last heard. */
  readonly positions: ReadonlyMap<string, Position>;
  /** The last heartbeat of a primary itself: its term, and its clock then, ms since 1970. */
  readonly primaryWord: { readonly term: number; readonly atMs: number } | undefined;
  /** Databases that are not replicated at present there, or where it has them from. */
  readonly troubles: readonly Trouble[];
}

const CONNECT_MS_MAX = 5000;
/** On a LAN a try costs nothing, and a primary that was away is missed. */
const RECONNECT_MS_MAX = 5000;
/** A connection in sync that lasted for so long was a good one: what ended it is not expected to end the next. */
const HEALTHY_MS = 2000;
/** So is one that lasted for longer than silence is waited for, in sync or not. */
const LASTING_MS = 15_000;
/** How long what was received is waited for before the next connection: it tells where we are. */
const DRAIN_MS_MAX = 2000;
/** Somebody has to change something first. */
const REFUSED_MS = 30_000;
/** Between two heartbeats nothing is known; so much is not counted as lag. */
const LAG_ALLOWANCE_MS = 2500;

export class ReplicationClient {
  readonly #options: ReplicationClientOptions;
  readonly #theirs = new Map<string, Position>();
  /** What the server had when we subscribed, not reached yet. */
  #targets: Map<string, Position> | undefined;
  #session: ClientSession | undefined;
  /** Of which a connection that is gone has left something on its way into the store, until it is there. */
  readonly #held = new Map<string, Promise<void>>();
  #socket: net.Socket | undefined;
  #timer: NodeJS.Timeout | undefined;
  #server: Hello | undefined;
  #connected = false;
  #sinceMs: number;
  /** The same, monotonic ms. */
  #connectedMs = 0;
  /** The server has told where it stood when we subscribed. */
  #subscribed = false;
  #everSynced = false;
  #closed = false;
  /** Tries in a row to connect that came to nothing, and connections in a row that came to nothing much. */
  #failures = 0;
  #shortLived = 0;
  #refused = false;
  #error: string | undefined;
  #loggedError: string | undefined;
  /** When we were last known to have everything, monotonic ms. */
  #currentMs = 0;
  #heartbeat: Heartbeat | undefined;
  #primaryWord: ClientState['primaryWord'];
  #clockAheadMs: number | undefined;
  #troubles: readonly Trouble[] = [];

  constructor(options: ReplicationClientOptions) {
    this.#options = options;
    this.#sinceMs = options.clock.wallMs();
  }

  start(): void {
    this.#connect();
  }

  state(): ClientState {
    return {
      connected: this.#connected,
      sinceMs: this.#sinceMs,
      server: this.#server,
      refused: this.#refused,
      error: this.#error,
      inSync: this.#connected && this.#everSynced && this.#targets === undefined,
      lagMs: this.#lagMs(),
      primaryClockMs: this.#heartbeat?.clockMs ?? 0,
      clockAheadMs: this.#clockAheadMs,
      positions: this.#theirs,
      primaryWord: this.#primaryWord,
      troubles: this.#troubles,
    };
  }

  /** Our position has changed without a transaction: if it is not the server's, pages are fetched. */
  compare(database: string): void {
    const theirs = this.#theirs.get(database);
    if (theirs) this.#session?.compare(database, theirs);
  }

  /** Has the primary lock a database for us. Rejects with WRONG_STATE, PEER_UNREACHABLE. */
  halt(database: string, id: number, waitMs: number): Promise<Position> {
    const { target } = this.#options;
    if (!this.#connected || !this.#session) {
      const text = `there is no connection to ${target.host}:${target.port}`;
      return Promise.reject(new LiteFsError('WRONG_STATE', text));
    }
    if (!this.#session.lendsHalts) {
      const text = `${this.#server?.hostname} does not lend its write lock`;
      const hint = 'It is a replica itself, of another release, or has not told what it has yet.';
      return Promise.reject(new LiteFsError('WRONG_STATE', text, { hint }));
    }
    return this.#session.halts.ask(database, id, waitMs);
  }

  unhalt(database: string, id: number): void {
    // A lock goes with its connection; in the handshake of another one the frame would be out of order.
    if (this.#session?.lendsHalts) this.#session.halts.release(database, id);
  }

  /**
   * Has the primary verify its own pages, however long that takes. One at a time for each database. Rejects with WRONG_STATE,
   * PEER_UNREACHABLE: why that cannot be told.
   */
  async verify(database: string): Promise<OwnPages> {
    const session = this.#session;
    if (!session || !this.#subscribed) {
      throw new LiteFsError('PEER_UNREACHABLE', `there is no connection to ${this.#address()}`);
    }
    if (session.canVerify) return session.verifies.ask(database);
    const { hostname, release } = this.#server as Hello;
    const text = `${hostname} runs a release that cannot verify for others (${release || 'it does not say which'})`;
    throw new LiteFsError('WRONG_STATE', text, { hint: 'Install the same release on all nodes.' });
  }

  /** Has the primary commit a transaction under the halt lock. */
  async commit(entry: ReceivedEntry): Promise<void> {
    if (!this.#session?.lendsHalts) {
      throw new LiteFsError('PEER_UNREACHABLE', 'the connection to the primary was lost');
    }
    await this.#session.halts.commit(entry);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket?.destroy();
    this.#session?.close();
  }

  #connect(): void {
    const { target } = this.#options;
    const socket = net.connect({ host: target.host, port: target.port, noDelay: true });
    this.#socket = socket;
    socket.setTimeout(CONNECT_MS_MAX, () => socket.destroy(new Error('no answer')));
    const failed = (error: Error | undefined) => this.#disconnected(error);
    socket.once('error', failed);
    socket.once('connect', () => {
      socket.setTimeout(0);
      socket.off('error', failed);
      socket.setKeepAlive(true, 5000);
      this.#begin(socket);
    });
  }

  #begin(socket: net.Socket): void {
    const { store, local, secret, log, clock, random, patterns, events } = this.#options;
    const remote = (this.#options.compressFor ?? isRemote)(socket.remoteAddress ?? '');
    this.#session = new ClientSession({
      transport: new FrameTransport(socket),
      store,
      local,
      secret,
      nonce: random(NONCE_BYTES),
      clock,
      log,
      compress: remote,
      patterns,
      held: this.#held,
      events: {
        connected: (server) => {
          this.#connected = true;
          this.#sinceMs = clock.wallMs();
          this.#connectedMs = clock.monotonicMs();
          this.#failures = 0;
          this.#refused = false;
          this.#error = undefined;
          this.#loggedError = undefined;
          this.#server = server;
          log.info(
            { peer: this.#address() },
            `connected to ${server.hostname} (${this.#address()})`,
          );
          events.met(server);
        },
        positions: (positions) => this.#positions(positions),
        heartbeat: (heartbeat) => {
          this.#heartbeat = heartbeat;
          this.#clockAheadMs = heartbeat.clockMs - clock.wallMs();
          const { role, term = 0 } = this.#server ?? {};
          // A replica passes on what it has itself come to.
          this.#primaryWord = role === 'primary' ? { term, atMs: heartbeat.clockMs } : undefined;
          this.#checkCurrent();
        },
        troubles: (troubles) => this.#troubled(troubles),
        applied: (database, position) => {
          const target = this.#targets?.get(database);
          if (target && position.txid >= target.txid) this.#targets?.delete(database);
          const theirs = this.#theirs.get(database);
          // The end of a database is an entry, after which nothing is told of it: we do not lack it.
          if (position.checksum === 0n && theirs && theirs.txid <= position.txid) {
            this.#theirs.delete(database);
          }
          this.#checkCurrent();
        },
        dropped: (database) => {
          this.#theirs.delete(database);
          this.#targets?.delete(database);
          this.#checkCurrent();
        },
        closed: (error) => this.#disconnected(error),
      },
    });
  }

  #troubled(troubles: readonly Trouble[]): void {
    for (const trouble of troubles) {
      const known = this.#troubles.find((each) => each.database === trouble.database);
      if (known?.reason === trouble.reason) continue;
      const database = nameText(trouble.database);
      this.#options.log.warn({ database }, troubleText(trouble));
    }
    this.#troubles = troubles;
  }

  #positions(positions: Map<string, Position>): void {
    // The first are all there are: what was dropped while we were away is not told.
    if (!this.#subscribed) this.#theirs.clear();
    for (const [name, position] of positions) {
      // It may be told of in the moment in which it goes.
      if (position.checksum === 0n) this.#theirs.delete(name);
      else this.#theirs.set(name, position);
    }
    if (this.#theirs.size > DATABASES_MAX) {
      throw new LiteFsError('PROTOCOL', `more than ${DATABASES_MAX} databases are told of`);
    }
    if (!this.#subscribed) {
      this.#subscribed = true;
      this.#targets = new Map(positions);
    }
    this.#checkCurrent();
  }

  /** Looks whether the first sync is done, and whether we have all that we know of. */
  #checkCurrent(): void {
    const ours = this.#options.store.positions();
    const reached = (name: string, { txid }: Position) => (ours.get(name)?.txid ?? 0) >= txid;
    if (this.#targets) {
      for (const [name, position] of this.#targets) {
        // What we had before may be of another history, however far that goes. What was applied is of the server's.
        const our = ours.get(name);
        if (our && samePosition(our, position)) this.#targets.delete(name);
      }
      if (this.#targets.size > 0) return;
      this.#targets = undefined;
      this.#everSynced = true;
      this.#options.events.synced();
    }
    for (const [name, position] of this.#theirs) if (!reached(name, position)) return;
    this.#currentMs = this.#options.clock.monotonicMs();
  }

  #lagMs(): number | undefined {
    if (!this.#everSynced) return undefined;
    const sinceMs = this.#options.clock.monotonicMs() - this.#currentMs;
    const behind = this.#connected && sinceMs < LAG_ALLOWANCE_MS ? 0 : sinceMs;
    return behind + (this.#heartbeat?.lagMs ?? 0);
  }

  #disconnected(error: Error | undefined): void {
    const { log, reconnectDelayMs, random } = this.#options;
    const wasConnected = this.#connected;
    const wasHealthy = this.#isHealthy();
    const session = this.#session;
    this.#connected = false;
    if (wasConnected) this.#sinceMs = this.#options.clock.wallMs();
    this.#session = undefined;
    this.#targets = undefined;
    this.#subscribed = false;
    this.#troubles = [];
    if (wasConnected) this.#options.events.lost();
    if (this.#closed) return;
    this.#error = error ? describe(error) : 'the connection was closed';
    this.#refused = error instanceof LiteFsError && error.code === 'PEER_REJECTED';
    if (!wasConnected) this.#failures++;
    else this.#shortLived = wasHealthy ? 0 : this.#shortLived + 1;
    const tries = wasConnected ? this.#shortLived : this.#failures;
    if (wasConnected || this.#error !== this.#loggedError) {
      this.#loggedError = this.#error;
      const what = this.#refused
        ? 'refused by'
        : wasConnected
          ? 'lost the connection to'
          : 'cannot follow';
      const fields = {
        peer: this.#address(),
        code: error instanceof LiteFsError ? error.code : undefined,
      };
      log.warn(fields, `${what} ${this.#address()}: ${this.#error}; trying again`);
    }
    const grown = Math.min(RECONNECT_MS_MAX, reconnectDelayMs * 2 ** (tries - 1));
    const jitter = 0.5 + random(1)[0] / 512;
    const wait = this.#refused ? REFUSED_MS * jitter : wasHealthy ? 0 : grown * jitter;
    this.#timer = setTimeout(async () => {
      if (session) await this.#drain(session);
      if (!this.#closed) this.#connect();
    }, wait);
  }

  /** Waits for what it has received, but not for ever: the next connection leaves out what is stuck until it is not. */
  async #drain(session: ClientSession): Promise<void> {
    const late = Promise.withResolvers<void>();
    this.#timer = setTimeout(late.resolve, DRAIN_MS_MAX);
    await Promise.race([session.drained(), late.promise]);
    clearTimeout(this.#timer);
    for (const [name, done] of session.busy()) {
      const held = done.then(() => {
        if (this.#held.get(name) === held) this.#held.delete(name);
      });
      this.#held.set(name, held);
    }
  }

  /**
   * Whether a connection that ends now may be made anew at once. One that fails over one database fails again, within
   * milliseconds or when the disk is full again.
   */
  #isHealthy(): boolean {
    const lastedMs = this.#options.clock.monotonicMs() - this.#connectedMs;
    const isSynced = this.#subscribed && this.#targets === undefined;
    return this.#connected && lastedMs >= (isSynced ? HEALTHY_MS : LASTING_MS);
  }

  #address(): string {
    const { host, port } = this.#options.target;
    return `${host}:${port}`;
  }
}

function describe(error: Error): string {
  const hint = error instanceof LiteFsError && error.hint ? `. ${error.hint}` : '';
  return `${errorText(error)}${hint}`;
}
