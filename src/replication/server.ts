/** Listening for replicas. Every node does: a replica may be followed by others. */
import net from 'node:net';
import { errorText, LiteFsError } from '../errors.ts';
import type { Verdict } from '../lease/judge.ts';
import { crowdOf, plainAddress } from '../os/addresses.ts';
import { endsOf, ownerOfPeer } from '../os/tcp-table.ts';
import { Absentees, type AbsentInfo } from './absent.ts';
import { Crowd } from './crowd.ts';
import { type Hello, NONCE_BYTES } from './messages.ts';
import type {
  Clock,
  HaltHost,
  LocalNode,
  ReplicaInfo,
  ReplicationLogger,
  Upstream,
  VerifyHost,
} from './parts.ts';
import { ServerSession } from './server-session.ts';
import type { ReplicationStore } from './store.ts';
import { FrameTransport } from './transport.ts';

export interface ReplicationServerOptions {
  readonly store: ReplicationStore;
  readonly local: () => LocalNode;
  readonly secret: string | undefined;
  readonly log: ReplicationLogger;
  readonly clock: Clock;
  /** Random bytes, for the nonces. */
  readonly random: (bytes: number) => Buffer;
  readonly upstream: () => Upstream;
  readonly halts: HaltHost;
  readonly verifier: VerifyHost;
  /** A node was refused for a reason that an administrator should see: two primaries, say. */
  readonly onRefused: (verdict: Verdict, peer: Hello) => void;
  /** The lowest transaction that some replica still needs, by database. */
  readonly onNeeds: (txids: ReadonlyMap<string, number>) => void;
  /** Whether to compress towards a peer. Default: when it is not on this machine. */
  readonly compressFor?: (address: string) => boolean;
}

/** How often at most the needs are told. */
const NEEDS_MS = 1000;

export class ReplicationServer {
  readonly #options: ReplicationServerOptions;
  readonly #sessions = new Crowd<ServerSession>();
  readonly #server: net.Server;
  readonly #absentees: Absentees;
  readonly #stopListening: () => void;
  #needsTimer: NodeJS.Timeout | undefined;

  constructor(options: ReplicationServerOptions) {
    this.#options = options;
    this.#absentees = new Absentees(options.clock);
    this.#stopListening = options.store.onEntry(({ database }) =>
      this.#absentees.committed(database),
    );
    this.#server = net.createServer((socket) => this.#connected(socket));
  }

  /** Listens; resolves with the port. Throws LISTEN when the address is taken. */
  listen(host: string | undefined, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      // Later ones are of connections that the system cannot accept for want of descriptors or memory: others can come.
      this.#server.on('error', (error) => {
        reject(
          new LiteFsError(
            'LISTEN',
            `cannot listen on ${host ?? ''}:${port} for replicas: ${errorText(error)}`,
            { hint: 'Set replication.addr to a free port.', cause: error },
          ),
        );
      });
      this.#server.listen(port, host, () => {
        resolve((this.#server.address() as net.AddressInfo).port);
      });
    });
  }

  /** Those that follow this node now. */
  replicas(): ReplicaInfo[] {
    return [...this.#sessions]
      .map((session) => session.info())
      .filter((info) => info !== undefined);
  }

  /** How many that are. */
  get followers(): number {
    return [...this.#sessions].filter((session) => session.isFollowed).length;
  }

  /** Those that have followed this node since it started, and do not now. */
  absent(): AbsentInfo[] {
    return this.#absentees.list();
  }

  async close(): Promise<void> {
    clearTimeout(this.#needsTimer);
    this.#stopListening();
    for (const session of this.#sessions) session.destroy();
    if (!this.#server.listening) return;
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  #connected(socket: net.Socket): void {
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 5000);
    const { store, local, secret, clock, log, random, upstream, halts, verifier, onRefused } =
      this.#options;
    const host = socket.remoteAddress ?? '';
    const address = `${host}:${socket.remotePort}`;
    const session = new ServerSession({
      transport: new FrameTransport(socket, { holdsReading: true }),
      address,
      compress: (this.#options.compressFor ?? isRemote)(host),
      store,
      local,
      secret,
      nonce: random(NONCE_BYTES),
      clock,
      log,
      upstream,
      halts,
      verifier,
      mayWrite: () => secret !== undefined || isOurOwn(socket),
      events: {
        authenticated: (known) => this.#sessions.known(known),
        welcomed: (known) => {
          this.#absentees.returned(known.info()?.nodeId ?? '');
          this.#needsChanged();
        },
        refused: onRefused,
        acked: () => this.#needsChanged(),
        closed: (closed) => {
          this.#sessions.leave(closed);
          this.#left(closed);
          this.#needsChanged();
        },
      },
    });
    this.#sessions.enter(session, crowdOf(plainAddress(host)));
    this.#sessions.crowdedOut(session)?.destroy();
  }

  /** A node may have connected anew before its old connection was given up. */
  #left(session: ServerSession): void {
    const info = session.info();
    if (info && !this.replicas().some(({ nodeId }) => nodeId === info.nodeId)) {
      this.#absentees.left(info);
    }
  }

  #needsChanged(): void {
    this.#needsTimer ??= setTimeout(() => {
      this.#needsTimer = undefined;
      const needs = new Map<string, number>();
      for (const { positions } of this.replicas()) {
        for (const [name, { txid }] of positions) {
          needs.set(name, Math.min(needs.get(name) ?? Number.MAX_SAFE_INTEGER, txid));
        }
      }
      this.#options.onNeeds(needs);
    }, NEEDS_MS).unref();
  }
}

/** Whether the peer is a process of this machine that runs as the user that this one runs as. */
function isOurOwn(socket: net.Socket): boolean {
  const ends = endsOf(socket);
  return ends !== undefined && ownerOfPeer(ends) === process.geteuid?.();
}

/** Whether an address is another machine's. */
export function isRemote(address: string): boolean {
  return !/^(::ffff:)?127\.|^::1$/.test(address);
}
