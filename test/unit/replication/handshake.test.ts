/** How two nodes meet: who is let in, who is refused and why, and what strangers can do. */
import assert from 'node:assert/strict';
import { duplexPair } from 'node:stream';
import { afterEach, beforeEach, describe, it, mock, test } from 'node:test';
import { LiteFsError } from '../../../src/errors.ts';
import { proof } from '../../../src/replication/auth.ts';
import { ClientSession } from '../../../src/replication/client-session.ts';
import { FRAME_TYPES, type Frame, frameName } from '../../../src/replication/frame.ts';
import { decodeReject, encodeHello } from '../../../src/replication/messages.ts';
import type { LocalNode } from '../../../src/replication/parts.ts';
import { FrameTransport } from '../../../src/replication/transport.ts';
import { MemoryStore } from './memory-store.ts';
import { connect, PRIMARY, REPLICA, SILENT, serverOn, settle } from './stand.ts';

let nowMs = 0;
const clock = { wallMs: () => nowMs, monotonicMs: () => nowMs };

beforeEach(() => {
  nowMs = 0;
  mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
});
afterEach(() => mock.timers.reset());

describe('two nodes', () => {
  const meet = async (
    replica: Partial<LocalNode> & { secret?: string },
    primary: Partial<LocalNode> & { secret?: string; knowsAll?: boolean; away?: string },
  ) => {
    const link = connect(
      { store: new MemoryStore(), local: { ...REPLICA, ...replica }, secret: replica.secret },
      {
        store: new MemoryStore(),
        local: { ...PRIMARY, ...primary },
        secret: primary.secret,
        knowsAll: primary.knowsAll,
        away: primary.away,
      },
      clock,
    );
    await settle();
    const result = { error: link.ended(), met: link.met(), follows: link.server.info() };
    link.cut();
    await settle(4);
    return result;
  };

  it('of one secret meet', async () => {
    const { met, follows, error } = await meet({ secret: 's' }, { secret: 's' });
    assert.equal(error, undefined);
    assert.equal(met?.hostname, 'box1');
    assert.equal(follows?.hostname, 'box2');
  });

  for (const [what, replica, primary, code, text] of [
    ['of another secret', { secret: 's' }, { secret: 't' }, 'PEER_REJECTED', /the secret of box2/],
    ['one without a secret', {}, { secret: 't' }, 'PEER_REJECTED', /the secret of box2/],
    ['of other clusters', { clusterId: 'c2' }, {}, 'PEER_REJECTED', /belongs to cluster/],
    ['one of a later term', { term: 2 }, {}, 'PEER_REJECTED', /must not be followed/],
    ['two primaries', { role: 'primary' }, {}, 'PEER_REJECTED', /both claim to be primary/],
    ['a copy', { nodeId: PRIMARY.nodeId }, {}, 'PEER_REJECTED', /the same node id/],
    [
      'a primary that asks a replica',
      { role: 'primary' },
      { role: 'replica' },
      'PEER_REJECTED',
      /box1 is a replica, and box2 a primary/,
    ],
    [
      'one that has not met its primary',
      {},
      { role: 'replica', clusterId: '' },
      'PEER_UNREACHABLE',
      /box1 has not met its primary yet/,
    ],
    [
      'one that may be about to get what it lacks',
      {},
      { role: 'replica', knowsAll: false },
      'PEER_UNREACHABLE',
      /box1 has not caught up with its primary yet$/,
    ],
    [
      'one that cannot, as its own primary is away',
      {},
      { role: 'replica', knowsAll: false, away: 'not connected to box0:20204: no answer' },
      'PEER_UNREACHABLE',
      /box1 has not caught up .* yet: it is not connected to box0:20204: no answer$/,
    ],
  ] as const) {
    it(`${what}: refused, with the reason`, async () => {
      const { error, met, follows } = await meet(replica, primary);
      assert(error instanceof LiteFsError, String(error));
      assert.equal(error.code, code);
      assert.match(error.message, text);
      assert.equal(met, undefined);
      assert.equal(follows, undefined);
    });
  }

  it('only what the replica asks for is sent', async () => {
    const [store, primary] = [new MemoryStore(), new MemoryStore()];
    primary.commit('tenant-1.db', new Map([[1, 1n]]));
    primary.commit('other.db', new Map([[1, 1n]]));
    const link = connect(
      { store, local: REPLICA, patterns: ['tenant-*'] },
      { store: primary, local: PRIMARY },
      clock,
    );
    await settle();
    primary.commit('tenant-2.db', new Map([[1, 1n]]));
    primary.commit('new.db', new Map([[1, 1n]]));
    primary.remove('other.db');
    await settle();
    assert.deepEqual([...store.databases.keys()].sort(), ['tenant-1.db', 'tenant-2.db']);
    assert.deepEqual([...(link.server.info()?.positions.keys() ?? [])].sort(), [
      'tenant-1.db',
      'tenant-2.db',
    ]);
    link.cut();
    await settle(4);
  });
});

const STRANGER = {
  ...REPLICA,
  advertiseUrl: '',
  features: 0,
  nonce: Buffer.alloc(32),
  primaryHostname: '',
  primaryProxy: '',
  release: '1',
};

describe('a stranger', () => {
  const HELLO = encodeHello(STRANGER);

  function listen() {
    const [near, far] = duplexPair();
    const got: Frame[] = [];
    const closed = Promise.withResolvers<void>();
    const log: string[] = [];
    const record = (_: object, text: string) => log.push(text);
    serverOn(far, {
      secret: 's',
      clock,
      log: { debug: record, info: record, warn: record, error: record },
      events: {
        authenticated: () => assert.fail('authenticated'),
        welcomed: () => assert.fail('welcomed'),
        refused() {},
        acked() {},
        closed: () => closed.resolve(),
      },
    });
    const transport = new FrameTransport(near);
    transport.start({ frame: (frame) => got.push(frame), closed() {} });
    return { transport, near, got, closed: closed.promise, log };
  }

  it('of another version is told both versions', async () => {
    const { transport, got, near } = listen();
    const hello = Buffer.from(HELLO);
    hello.writeUInt16BE(9, 4);
    transport.send('HELLO', hello);
    await settle();
    assert.deepEqual(
      got.map(({ type }) => frameName(type)),
      ['REJECT'],
    );
    const { code, text } = decodeReject(got[0].payload);
    assert.equal(code, 'version');
    assert.match(text, /box1 speaks version 1 .* the node that asks version 9/);
    near.destroy();
  });

  it('is sent away when it talks of something else, or too much', async () => {
    for (const first of [
      () => Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      () => Buffer.from([0, 1, 0, 0, FRAME_TYPES.HELLO]),
      () => Buffer.from([0, 0, 0, 1, FRAME_TYPES.SUBSCRIBE]),
      () => Buffer.from([0, 0, 0, 1, FRAME_TYPES.PING]),
    ]) {
      const { near, closed, got, log } = listen();
      near.write(first());
      await closed;
      assert.deepEqual(got, []);
      assert.match(log.join(), /came to nothing/);
    }
  });

  it('has ten seconds to prove who it is, however much it says', async () => {
    const { near, closed, log } = listen();
    near.write(Buffer.from([0, 0, 0, 100, FRAME_TYPES.HELLO]));
    for (let second = 0; second < 12; second++) {
      nowMs += 1000;
      mock.timers.tick(1000);
      near.write(Buffer.from([0]));
      await settle(2);
    }
    await closed;
    assert.match(log.join(), /10 s/);
  });

  it('that was refused does not stay, however much it says', async () => {
    const { transport, near, closed, got } = listen();
    // It does not close its side when the server does.
    near.removeAllListeners('end');
    transport.send('HELLO', Buffer.from(HELLO));
    transport.send('AUTH', Buffer.alloc(32));
    await settle();
    assert.deepEqual(
      got.map(({ type }) => frameName(type)),
      ['HELLO', 'REJECT'],
    );
    let isClosed = false;
    closed.then(() => {
      isClosed = true;
    });
    for (let second = 0; second < 12; second++) {
      nowMs += 1000;
      mock.timers.tick(1000);
      transport.send('PING');
      await settle(4);
    }
    assert(isClosed);
    near.destroy();
  });
});

test('a server of no cluster is not followed: its id would take the place of ours', async () => {
  const [near, far] = duplexPair();
  const got: string[] = [];
  const nonce = Buffer.alloc(32, 2);
  const local = { ...REPLICA, clusterId: 'c000000000000001' };
  const ended = Promise.withResolvers<Error | undefined>();
  const server = new FrameTransport(far);
  server.start({
    frame({ type }) {
      got.push(frameName(type));
      if (type === FRAME_TYPES.HELLO) {
        server.send(
          'HELLO',
          encodeHello({ ...STRANGER, ...PRIMARY, clusterId: '', nonce, advertiseUrl: '' }),
        );
      } else if (type === FRAME_TYPES.AUTH) {
        const nonces = { clientNonce: Buffer.alloc(32, 1), serverNonce: nonce };
        const ids = { clientId: local.nodeId, serverId: PRIMARY.nodeId };
        server.send('AUTH', proof('s', 'server', { ...nonces, ...ids }));
        server.send('WELCOME');
      }
    },
    closed() {},
  });
  const parts = { store: new MemoryStore(), nonce: Buffer.alloc(32, 1), clock, log: SILENT };
  const rest = { secret: 's', compress: false, patterns: undefined, held: new Map() };
  new ClientSession({
    ...parts,
    ...rest,
    transport: new FrameTransport(near),
    local: () => local,
    events: {
      connected: () => assert.fail('connected'),
      positions() {},
      heartbeat() {},
      applied() {},
      troubles() {},
      dropped() {},
      closed: ended.resolve,
    },
  });
  const error = await ended.promise;
  assert.match(`${error}`, /box1 lets nodes follow it, though it belongs to no cluster/);
  await settle();
  assert.deepEqual(got, ['HELLO', 'AUTH']);
});
