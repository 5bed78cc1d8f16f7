/** Databases that the primary does not replicate at present: its replicas are told, and told when that is over. */
import assert from 'node:assert/strict';
import { duplexPair } from 'node:stream';
import { afterEach, beforeEach, it, mock } from 'node:test';
import { proof } from '../../../src/replication/auth.ts';
import { type Frame, frameName } from '../../../src/replication/frame.ts';
import { encodeHello, encodeSubscription } from '../../../src/replication/messages.ts';
import { ServerSession } from '../../../src/replication/server-session.ts';
import { FrameTransport } from '../../../src/replication/transport.ts';
import { MemoryStore } from './memory-store.ts';
import {
  NO_HALTS,
  NO_VERIFIER,
  PRIMARY,
  REPLICA,
  SILENT,
  settle,
  UPSTREAM,
  until,
} from './stand.ts';
import { follow } from './tcp-stand.ts';

const TROUBLE = { database: 'a.db', hostname: 'box1', reason: 'it is in quarantine' };

beforeEach(() => mock.timers.enable({ apis: ['setTimeout', 'setInterval'] }));
afterEach(() => mock.timers.reset());

it('are told at once, when they change, and forgotten with the connection', async () => {
  const link = await follow(new MemoryStore(), new MemoryStore());
  try {
    const troubles = () => link.client.state().troubles;
    await link.synced();
    link.troubles = [TROUBLE];
    mock.timers.tick(1000);
    await until(() => troubles().length > 0);
    assert.deepEqual(troubles(), [TROUBLE]);
    link.troubles = [{ ...TROUBLE, reason: 'another' }];
    mock.timers.tick(1000);
    await until(() => troubles()[0].reason === 'another');

    link.cut();
    await link.lost();
    assert.deepEqual(troubles(), []);
    mock.timers.tick(1000);
    await until(() => troubles().length > 0);

    link.troubles = [];
    mock.timers.tick(1000);
    await until(() => troubles().length === 0);
  } finally {
    await link.close();
  }
});

it('are not told to a node that does not know of them', async () => {
  const [near, far] = duplexPair();
  const clock = { wallMs: () => 0, monotonicMs: () => 0 };
  const [clientNonce, serverNonce] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
  new ServerSession({
    transport: new FrameTransport(far),
    address: 'test',
    compress: false,
    store: new MemoryStore(),
    local: () => PRIMARY,
    secret: undefined,
    nonce: serverNonce,
    clock,
    log: SILENT,
    halts: NO_HALTS,
    verifier: NO_VERIFIER,
    mayWrite: () => true,
    upstream: () => ({ ...UPSTREAM, troubles: [TROUBLE] }),
    events: { authenticated() {}, welcomed() {}, refused() {}, acked() {}, closed() {} },
  });
  const transport = new FrameTransport(near);
  const got: string[] = [];
  const frame = ({ type }: Frame) => got.push(frameName(type));
  transport.start({ frame, closed() {} });
  try {
    const about = { advertiseUrl: '', primaryHostname: '', primaryProxy: '', release: '' };
    const hello = { ...REPLICA, ...about, features: 3, nonce: clientNonce };
    transport.send('HELLO', encodeHello(hello));
    const ids = { clientId: REPLICA.nodeId, serverId: PRIMARY.nodeId };
    transport.send('AUTH', proof(undefined, 'client', { clientNonce, serverNonce, ...ids }));
    const nothing = { positions: new Map(), patterns: undefined };
    transport.send('SUBSCRIBE', encodeSubscription(nothing));
    await settle();
    mock.timers.tick(1000);
    await settle();
    assert.deepEqual(got, ['HELLO', 'AUTH', 'WELCOME', 'SUBSCRIBED', 'HEARTBEAT']);
  } finally {
    near.destroy();
    await settle(4);
  }
});
