/** Both ends of a replication connection in one process, over a pair of streams that can be cut. */
import assert from 'node:assert/strict';
import { type Duplex, duplexPair } from 'node:stream';
import { ClientSession } from '../../../src/replication/client-session.ts';
import type { Hello } from '../../../src/replication/messages.ts';
import type {
  Clock,
  HaltHost,
  LocalNode,
  ReplicationLogger,
  Upstream,
  VerifyHost,
} from '../../../src/replication/parts.ts';
import { ServerSession, type ServerSessionParts } from '../../../src/replication/server-session.ts';
import { FrameTransport } from '../../../src/replication/transport.ts';
import { LAST_OF_FEATURES } from '../../harness/frame-relay.ts';
import { MemoryStore } from './memory-store.ts';

export interface SideOptions {
  readonly store: MemoryStore;
  readonly local: LocalNode;
  readonly secret?: string;
  /** See Upstream. */
  readonly knowsAll?: boolean;
  readonly away?: string;
  readonly verifier?: VerifyHost;
  readonly log?: ReplicationLogger;
}

export interface Connection {
  readonly client: ClientSession;
  readonly server: ServerSession;
  /** What the client was told at its end; undefined while it lives, null for no error. */
  readonly ended: () => Error | null | undefined;
  readonly met: () => Hello | undefined;
  /** Both ends see the connection go. */
  cut(): void;
}

export const PRIMARY: LocalNode = {
  nodeId: '0000000000000001',
  clusterId: 'c000000000000001',
  term: 1,
  role: 'primary',
  hostname: 'box1',
  advertiseUrl: undefined,
};
export const REPLICA: LocalNode = {
  ...PRIMARY,
  nodeId: '0000000000000002',
  clusterId: '',
  role: 'replica',
  hostname: 'box2',
};

/** As between two machines: who sends may use the buffers again. `hidden`: bits of `features` that the sender seems not to have. */
function copyWhatComes(end: Duplex, hidden: number): void {
  const push = end.push.bind(end);
  let passed = 0;
  end.push = (chunk: Buffer | null) => {
    if (!chunk) return push(chunk);
    const copy = Buffer.from(chunk);
    const at = LAST_OF_FEATURES - passed;
    if (at >= 0 && at < copy.length) copy[at] &= ~hidden;
    passed += copy.length;
    return push(copy);
  };
}

/** A node that lends no lock. */
export const NO_HALTS: HaltHost = {
  lend: () => Promise.reject(new Error('no')),
  commit: () => Promise.reject(new Error('no')),
  takeBack() {},
};

/** A node that cannot tell. */
export const NO_VERIFIER: VerifyHost = { primaryPages: () => Promise.reject(new Error('no')) };

/** Of a node that is the primary, and has nothing to say of it. */
export const UPSTREAM: Upstream = {
  hostname: '',
  proxy: '',
  knowsAll: true,
  away: '',
  lagMs: 0,
  troubles: [],
};

export const SILENT = { debug() {}, info() {}, warn() {}, error() {} };

/** The server's end of a connection: that of a primary without databases or a secret, but for what is given. */
export function serverOn(end: Duplex, parts: Partial<ServerSessionParts>): ServerSession {
  return new ServerSession({
    // One at most: two would both read.
    transport: parts.transport ?? new FrameTransport(end),
    address: 'test',
    compress: false,
    store: new MemoryStore(),
    local: () => PRIMARY,
    secret: undefined,
    nonce: Buffer.alloc(32, 2),
    clock: { wallMs: () => 0, monotonicMs: () => 0 },
    log: SILENT,
    halts: NO_HALTS,
    verifier: NO_VERIFIER,
    mayWrite: () => true,
    upstream: () => UPSTREAM,
    events: { authenticated() {}, welcomed() {}, refused() {}, acked() {}, closed() {} },
    ...parts,
  });
}

export function connect(
  client: SideOptions & {
    readonly patterns?: readonly string[];
    readonly held?: ReadonlyMap<string, Promise<void>>;
  },
  server: SideOptions,
  clock: Clock,
  hidden = 0,
): Connection {
  const [near, far] = duplexPair() as [Duplex, Duplex];
  for (const end of [near, far]) copyWhatComes(end, hidden);
  let ended: Error | null | undefined;
  let met: Hello | undefined;
  const { knowsAll = true, away = '' } = server;
  const serverSession = serverOn(far, {
    store: server.store,
    local: () => server.local,
    secret: server.secret,
    clock,
    verifier: server.verifier ?? NO_VERIFIER,
    upstream: () => ({ ...UPSTREAM, hostname: server.local.hostname, knowsAll, away }),
  });
  const clientSession = new ClientSession({
    transport: new FrameTransport(near),
    store: client.store,
    local: () => client.local,
    secret: client.secret,
    nonce: Buffer.alloc(32, 1),
    clock,
    log: client.log ?? SILENT,
    compress: false,
    patterns: client.patterns,
    held: client.held ?? new Map(),
    events: {
      connected(hello) {
        met = hello;
      },
      positions() {},
      heartbeat() {},
      applied() {},
      troubles() {},
      dropped() {},
      closed(error) {
        ended = error ?? null;
      },
    },
  });
  return {
    client: clientSession,
    server: serverSession,
    ended: () => ended,
    met: () => met,
    cut() {
      near.destroy();
      far.destroy();
    },
  };
}

/** Lets everything happen that can without the clock. */
export async function settle(turns = 40): Promise<void> {
  for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Waits for what depends on sockets too, without the clock. */
export async function until(condition: () => boolean): Promise<void> {
  for (let turns = 0; !condition(); turns++) {
    assert(turns < 100_000, 'what was waited for has not come');
    await settle(1);
  }
}
