/** A replica that follows a primary over TCP on this machine, both with databases in memory. */
import net from 'node:net';
import { ReplicationClient } from '../../../src/replication/client.ts';
import type { Trouble } from '../../../src/replication/parts.ts';
import type { MemoryStore } from './memory-store.ts';
import { PRIMARY, REPLICA, SILENT, serverOn, settle, UPSTREAM, until } from './stand.ts';

export interface Following {
  readonly client: ReplicationClient;
  /** Whether the primary ends connections as soon as they are made. */
  isAway: boolean;
  /** What the primary tells of its databases. */
  troubles: readonly Trouble[];
  /** Resolves when the client waits before it connects again, once for each time. */
  rests(): Promise<void>;
  /** The clock of both goes on; no timer runs. */
  pass(ms: number): void;
  /** Resolves when the client has everything, on the connection that it has or makes next. */
  synced(): Promise<void>;
  /** Resolves when the client has lost a connection, once for each. */
  lost(): Promise<void>;
  /** Ends the connections. */
  cut(): void;
  close(): Promise<void>;
}

/** What happens from time to time, to be waited for once for each time. */
class Happening {
  #count = 0;

  happened(): void {
    this.#count++;
  }

  async wait(): Promise<void> {
    await until(() => this.#count > 0);
    this.#count--;
  }
}

export async function follow(replica: MemoryStore, primary: MemoryStore): Promise<Following> {
  let nowMs = 1;
  const clock = { wallMs: () => nowMs, monotonicMs: () => nowMs };
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    if (link.isAway) {
      socket.destroy();
      return;
    }
    sockets.add(socket);
    serverOn(socket, {
      store: primary,
      clock,
      upstream: () => ({
        ...UPSTREAM,
        hostname: PRIMARY.hostname,
        troubles: link.troubles,
      }),
      events: {
        authenticated() {},
        welcomed() {},
        refused() {},
        acked() {},
        closed: () => sockets.delete(socket),
      },
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const [synced, lost, rests] = [new Happening(), new Happening(), new Happening()];
  const client = new ReplicationClient({
    store: replica,
    local: () => REPLICA,
    secret: undefined,
    log: SILENT,
    clock,
    random(bytes) {
      // For the wait.
      if (bytes === 1) rests.happened();
      return Buffer.alloc(bytes, 1);
    },
    target: { host: '127.0.0.1', port: (server.address() as net.AddressInfo).port },
    reconnectDelayMs: 1000,
    patterns: undefined,
    events: { met() {}, lost: () => lost.happened(), synced: () => synced.happened() },
  });
  const link: Following = {
    client,
    isAway: false,
    troubles: [],
    rests: () => rests.wait(),
    pass(ms) {
      nowMs += ms;
    },
    synced: () => synced.wait(),
    lost: () => lost.wait(),
    cut() {
      for (const socket of sockets) socket.destroy();
    },
    async close() {
      client.close();
      link.cut();
      await new Promise((resolve) => server.close(resolve));
      // The sessions hear of it, and clear their timers.
      await settle(4);
    },
  };
  client.start();
  return link;
}
