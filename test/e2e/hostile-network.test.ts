/**
 * Strangers, and web pages that an administrator looks at, at the port of the API.
 *
 * On 25311ce: any Host was answered, so that a page whose name was made to lead to the node read /info, /events, /snapshots
 * and /history (row l). 1,024 idle connections were all that there were, and `status` was refused with them; 200 GETs of
 * /verify were 200 readings of all pages, one after the other, and a commit had to wait 12.8 s for them (row i).
 *
 * The port of replication (row i): ACKs of names that a peer made up grew the primary by hundreds of MB and were in its status
 * and metrics; RESYNC_BEGIN with 0xfffffffe pages kept the engine of a replica from answering for minutes. 64 connections of
 * one stranger took all places that strangers have. What else a peer may try has tests of its own: the hostile-* of
 * test/unit/replication, and test/unit/engine/announced.
 *
 * Rows h, j and k are in hostile-proxy.test.ts and proxy-hostile.test.ts, row m in hostile-names.test.ts.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import { after, before, describe, it } from 'node:test';
import Sqlite from 'better-sqlite3';
import type { Position } from '../../src/ltx/position.ts';
import { FRAME_TYPES, frameHeader } from '../../src/replication/frame.ts';
import {
  encodeEntryBegin,
  encodeHeartbeat,
  encodePositions,
  encodeRequest,
  encodeResyncBegin,
} from '../../src/replication/messages.ts';
import { runCli } from '../harness/cli.ts';
import { type Cluster, inSync, startCluster, type TestNode, until } from '../harness/cluster.ts';
import { hostileReplica, hostileServer } from '../harness/hostile-peer.ts';

const SECRET = '4c8f0a1be27d93560f1e2d3c4b5a6978';
const PAGES = ['/', '/info', '/databases', '/history', '/snapshots', '/metrics', '/healthz'];

/** The status of a GET. `localAddress`: from where. */
function get(
  node: TestNode,
  path: string,
  options: { host?: string; localAddress?: string } = {},
): Promise<number> {
  const { host, localAddress } = options;
  const headers: http.OutgoingHttpHeaders = { authorization: `Bearer ${SECRET}` };
  if (host !== undefined) headers.host = host;
  return new Promise((resolve, reject) => {
    const port = node.httpPort;
    const request = http.get({
      port,
      host: '127.0.0.1',
      path,
      headers,
      localAddress,
      agent: false,
    });
    request.on('error', reject);
    request.on('response', (response) => {
      resolve(response.statusCode ?? 0);
      if (path === '/events') request.destroy();
      else response.resume();
    });
  });
}

describe('a web page whose name leads to the node', () => {
  let cluster: Cluster;
  let primary: TestNode;
  before(async () => {
    const config = {
      http: { hosts: ['litefs.example.org'] },
      lease: { 'advertise-url': 'http://box1.test:20202' },
      replication: { secret: SECRET },
    };
    ({ cluster, primary } = await startCluster('auto', { replicas: 0, config }));
  });
  after(() => cluster?.close());

  it('reads nothing', async () => {
    for (const path of [...PAGES, '/events', '/verify?name=a.db', '/export?name=a.db']) {
      for (const host of ['evil.example', `evil.example:${primary.httpPort}`, 'box1.test.evil']) {
        assert.equal(await get(primary, path, { host }), 421, `${path} of ${host}`);
      }
    }
  });

  it('does not keep away those who ask by a name of the node, or its address', async () => {
    for (const host of [
      `127.0.0.1:${primary.httpPort}`,
      'localhost',
      '10.1.2.3:20202',
      '[2001:db8::1]',
      os.hostname(),
      'box1.test:20202',
      'Litefs.Example.org',
    ]) {
      for (const path of ['/info', '/events', '/metrics']) {
        assert.equal(await get(primary, path, { host }), 200, `${path} of ${host}`);
      }
    }
  });
});

describe('a stranger', () => {
  let cluster: Cluster;
  let primary: TestNode;
  let replica: TestNode;
  before(async () => {
    const config = { replication: { secret: SECRET } };
    ({ cluster, primary, replica } = await startCluster('auto', { config }));
  });
  after(() => cluster?.close());

  it('who holds 1,030 connections locks out neither commands nor other addresses', async () => {
    const sockets: net.Socket[] = [];
    try {
      for (let i = 0; i < 1030; i++) {
        const socket = net.connect({ port: primary.httpPort, host: '127.0.0.1' });
        socket.on('error', () => {});
        sockets.push(socket);
        await once(socket, 'connect');
      }
      assert.equal(await get(primary, '/info', { localAddress: '127.0.0.77' }), 200);
      const status = await runCli(['status', '--config', primary.configFile]);
      assert.equal(status.status, 0, status.stderr);
      const verify = await runCli(['verify', '--config', primary.configFile]);
      assert.equal(verify.status, 0, verify.stderr);
      const held = sockets.filter((socket) => !socket.destroyed);
      assert(held.length <= 256, `${held.length} are held`);
      // They send no request, and are let go after 10 s.
      for (const socket of sockets) socket.resume();
      await until('the connections are closed', () => sockets.every((each) => each.destroyed));
    } finally {
      for (const socket of sockets) socket.destroy();
    }
  });

  it('who has a database read 200 times holds up no commit, here or on a replica', async () => {
    const db = new Sqlite(primary.file('big.db'));
    db.pragma('journal_mode = wal');
    db.exec('CREATE TABLE t(x); CREATE TABLE n(i)');
    const fill = db.prepare('INSERT INTO t VALUES(randomblob(1000000))');
    db.transaction(() => {
      for (let i = 0; i < 64; i++) fill.run();
    })();
    await inSync(primary, replica, 'big.db');
    try {
      for (const node of [primary, replica]) {
        let isAnswered = false;
        const asked = Promise.all(
          Array.from({ length: 200 }, () => get(node, '/verify?name=big.db')),
        ).finally(() => {
          isAnswered = true;
        });
        let slowestMs = 0;
        while (!isAnswered) {
          const startedMs = performance.now();
          db.exec('INSERT INTO n VALUES(1)');
          await inSync(primary, replica, 'big.db');
          slowestMs = Math.max(slowestMs, performance.now() - startedMs);
        }
        assert((await asked).every((status) => status === 200));
        assert(slowestMs < 2000, `${slowestMs} ms for a commit, while the ${node.name} was asked`);
      }
    } finally {
      db.close();
    }
  });
});

const AT: Position = { txid: 7, checksum: 1n };
const MIB = 1 << 20;

/** Names of no database, no two calls with the same. */
const madeUp = (count: number, what: string) =>
  new Map(Array.from({ length: count }, (_, i): [string, Position] => [`${what}-${i}.db`, AT]));

describe('a peer that has the secret', () => {
  let cluster: Cluster;
  let primary: TestNode;
  let replica: TestNode;
  before(async () => {
    const config = { replication: { secret: SECRET } };
    ({ cluster, primary, replica } = await startCluster('auto', { config }));
    const db = new Sqlite(primary.file('a.db'));
    db.exec('CREATE TABLE n(i)');
    db.close();
    await inSync(primary, replica, 'a.db');
  });
  after(() => cluster?.close());

  /** Commits again and again, for as long as `act` takes, and each reaches the replica in good time. */
  async function whileCommitting(act: () => Promise<void>): Promise<void> {
    const db = new Sqlite(primary.file('a.db'));
    let isOver = false;
    const acting = act().finally(() => {
      isOver = true;
    });
    try {
      let slowestMs = 0;
      while (!isOver) {
        const startedMs = performance.now();
        db.exec('INSERT INTO n VALUES(1)');
        await inSync(primary, replica, 'a.db');
        slowestMs = Math.max(slowestMs, performance.now() - startedMs);
      }
      assert(slowestMs < 3000, `${slowestMs} ms for a commit`);
    } finally {
      await acting;
      db.close();
    }
  }

  it('is kept nothing for by names that it makes up, and appears nowhere with them', async () => {
    const peer = await hostileReplica(primary.replicationPort, {
      secret: SECRET,
      nodeId: '00000000000000e1',
    });
    const before = primary.residentBytes();
    try {
      // Made before: this process commits at the same time.
      const rounds = Array.from({ length: 25 }, (_, round) => ({
        ack: encodePositions(madeUp(20_000, `ack-${round}`)),
        requests: [...madeUp(400, `request-${round}`).keys()].map((name) =>
          encodeRequest(name, AT, round % 2 === 0),
        ),
      }));
      await whileCommitting(async () => {
        for (const { ack, requests } of rounds) {
          await peer.transport.send('ACK', ack);
          for (const request of requests) peer.transport.send('REQUEST', request);
          await peer.transport.drained();
        }
        await until('all is answered', () => {
          assert(!peer.socket.destroyed, 'the connection was ended');
          return peer.got.filter((name) => name === 'DROPPED').length >= 10_000;
        });
      });
      const grown = primary.residentBytes() - before;
      assert(grown < 150 * MIB, `the primary has grown by ${grown / MIB} MiB`);
      const told = (await primary.info()).replicas.find(({ hostname }) => hostname === 'evil');
      assert.deepEqual(
        Object.keys(told?.positions ?? {}).filter((name) => name !== 'a.db'),
        [],
      );
      const metrics = await (await primary.api('/metrics')).text();
      assert.doesNotMatch(metrics, /ack-|request-/);
    } finally {
      peer.close();
    }
  });

  it('holds up no commit by PINGs, half frames, frames of single bytes, or by taking nothing', async () => {
    const peers = await Promise.all(
      ['e2', 'e3', 'e4', 'e5'].map((id) =>
        hostileReplica(primary.replicationPort, { secret: SECRET, nodeId: `00000000000000${id}` }),
      ),
    );
    const [pings, half, bytes, deaf] = peers;
    const before = primary.residentBytes();
    try {
      await whileCommitting(async () => {
        half.socket.write(frameHeader(FRAME_TYPES.ENTRY, MIB));
        half.socket.write(Buffer.alloc(1000));
        bytes.socket.setNoDelay(true);
        bytes.socket.write(frameHeader(FRAME_TYPES.ENTRY, 2 * MIB - 1));
        deaf.socket.pause();
        const name = `${'n'.repeat(200)}.db`;
        const many = Buffer.concat(
          Array.from({ length: 10_000 }, () => frameHeader(FRAME_TYPES.PING, 0)),
        );
        for (let round = 0; round < 100; round++) {
          const taken = pings.socket.write(many);
          for (let i = 0; i < 200; i++) bytes.socket.write(Buffer.from([i]));
          for (let i = 0; i < 2000 && deaf.socket.writableLength < MIB; i++) {
            deaf.transport.send('REQUEST', encodeRequest(name, AT, true));
          }
          if (!taken) await once(pings.socket, 'drain');
          await new Promise((resolve) => setImmediate(resolve));
        }
      });
      const grown = primary.residentBytes() - before;
      assert(grown < 200 * MIB, `the primary has grown by ${grown / MIB} MiB`);
    } finally {
      for (const peer of peers) peer.close();
    }
  });

  it('that has no end of connections keeps no other from following', async () => {
    const strangers: net.Socket[] = [];
    const others = [];
    try {
      for (let i = 0; i < 400; i++) {
        const socket = net.connect({ port: primary.replicationPort, host: '127.0.0.1' });
        socket.on('error', () => {});
        strangers.push(socket.resume());
        await once(socket, 'connect');
      }
      await until(
        'all but 64 are closed',
        () => strangers.filter((each) => !each.destroyed).length <= 64,
      );
      for (let i = 0; i < 100; i++) {
        const about = {
          secret: SECRET,
          nodeId: `0000000000000${i + 0x100}`.slice(-16),
          localAddress: '127.0.0.66',
        };
        others.push(await hostileReplica(primary.replicationPort, about).catch(() => undefined));
      }
      const held = others.filter((peer) => peer && !peer.socket.destroyed).length;
      assert(held <= 64, `one address holds ${held}`);
      const about = { secret: SECRET, nodeId: '00000000000000ff', localAddress: '127.0.0.99' };
      others.push(await hostileReplica(primary.replicationPort, about));
    } finally {
      for (const socket of strangers) socket.destroy();
      for (const peer of others) peer?.close();
    }
  });
});

describe('a server that was taken over', () => {
  it('has its replica neither stop answering nor grow', async () => {
    const config = { replication: { secret: SECRET } };
    const { cluster } = await startCluster('auto', { replicas: 0, config });
    const asked: string[] = [];
    const about = { secret: SECRET, nodeId: '00000000000000e9', clusterId: 'c0000000000000e9' };
    const server = await hostileServer(about, new Map(), (transport, round) => {
      const sizes = [
        [4096, 0xfffffffe],
        [3 << 19, 1],
        [0, 0xffffffff],
      ];
      const [pageSize, pageCount] = sizes[round % 3];
      const base = { position: AT, pageSize, pageCount, diverged: round % 2 === 1, reason: 'evil' };
      transport.send('RESYNC_BEGIN', encodeResyncBegin({ database: `r${round}.db`, ...base }));
      const record = Buffer.alloc(4 + pageSize, 1);
      record.writeUInt32BE(1);
      const name = Buffer.from(`\0\x05r${round}.db`, 'latin1');
      if (record.length < 2 * MIB - 100) transport.send('PAGES', name, record);
      const position = Buffer.alloc(16, 1);
      position.writeBigUInt64BE(7n);
      transport.send('RESYNC_END', name, position);
      for (let i = 0; i < 3000; i++)
        transport.send('ENTRY_BEGIN', encodeEntryBegin(`e${i}.db`, 2 ** 40));
      for (let part = 0; part < 4; part++) {
        const positions = madeUp(round === 0 ? 100 : 30_000, `told-${part}`);
        transport.send('HEARTBEAT', encodeHeartbeat({ clockMs: Date.now(), lagMs: 0, positions }));
      }
      asked.push(`round ${round}`);
    });
    try {
      const replica = await cluster.add('victim', {
        candidate: false,
        passthrough: 'auto',
        primaryPort: server.port,
        config,
      });
      replica.launch();
      await replica.logged(/announced, which no database has|that lacks \d+ of them/);
      await replica.logged(/more than 100000 databases are told of/);
      await until('three rounds', () => asked.length >= 3);
      await replica.logged(/0 bytes are announced, which no database has/);
      // It answers; what depends on whether it is connected just then.
      assert([200, 503].includes((await replica.api('/healthz')).status));
      assert.deepEqual(
        (await replica.info()).databases.filter(({ pages }) => pages > 0),
        [],
      );
      assert(replica.residentBytes() < 400 * MIB, `${replica.residentBytes() / MIB} MiB`);
      const descriptors = fs.readdirSync(`/proc/${replica.pid}/fd`).length;
      assert(descriptors < 200, `${descriptors} descriptors`);
    } finally {
      server.close();
      await cluster.close();
    }
  });
});
