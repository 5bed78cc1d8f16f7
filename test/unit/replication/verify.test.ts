/** A replica has the node that it follows verify: answers, those that cannot be had, and questions out of order. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, it, mock } from 'node:test';
import { LiteFsError } from '../../../src/errors.ts';
import { FRAME_TYPES } from '../../../src/replication/frame.ts';
import { encodeNamedId, FEATURE_VERIFY } from '../../../src/replication/messages.ts';
import type { LocalNode, OwnPages, VerifyHost } from '../../../src/replication/parts.ts';
import type { FrameTransport } from '../../../src/replication/transport.ts';
import { VerifyAnswerer } from '../../../src/replication/verify-answerer.ts';
import { VerifyAsker } from '../../../src/replication/verify-asker.ts';
import { decodeVerified, type Verified } from '../../../src/replication/verify-messages.ts';
import { type Greeted, greeted } from './greeted.ts';
import { MemoryStore } from './memory-store.ts';
import { type Connection, connect, PRIMARY, REPLICA, settle } from './stand.ts';
import { follow } from './tcp-stand.ts';

const READ: OwnPages = {
  position: { txid: 9, checksum: 5n },
  pages: 3,
  badPages: [2],
  reason: '1 of 3 pages is bad',
};

/** What was asked for, and how it is answered. */
let asked: Map<string, PromiseWithResolvers<OwnPages>>;
let verifier: VerifyHost;
let link: Connection | undefined;
let ends: (() => void)[];

beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  asked = new Map();
  ends = [];
  verifier = {
    primaryPages(database) {
      const answer = Promise.withResolvers<OwnPages>();
      asked.set(database, answer);
      return answer.promise;
    },
  };
});
afterEach(async () => {
  link?.cut();
  for (const end of ends) end();
  await settle(4);
  mock.timers.reset();
  link = undefined;
});

async function following(patterns?: readonly string[]): Promise<Connection> {
  const clock = { wallMs: () => 1, monotonicMs: () => 1 };
  const [client, server] = [new MemoryStore(), new MemoryStore()];
  link = connect(
    { store: client, local: REPLICA, patterns },
    { store: server, local: PRIMARY, verifier },
    clock,
  );
  await settle();
  assert(link.client.canVerify);
  return link;
}

it('gets what the server has read, for several databases at once', async () => {
  const { client } = await following();
  const [a, b] = [client.verifies.ask('a.db'), client.verifies.ask('b.db')];
  await settle();
  asked.get('b.db')?.resolve({ ...READ, badPages: [], reason: '' });
  assert.equal((await b).reason, '');
  asked.get('a.db')?.resolve(READ);
  assert.deepEqual(await a, READ);
  const again = client.verifies.ask('a.db');
  await settle();
  asked.get('a.db')?.resolve(READ);
  assert.deepEqual(await again, READ);
});

it('hears why the server cannot tell', async () => {
  const { client } = await following(['a*.db']);
  const answer = client.verifies.ask('a.db');
  await settle();
  asked.get('a.db')?.reject(new LiteFsError('DATABASE_BUSY', 'it is held'));
  await assert.rejects(answer, { code: 'WRONG_STATE', message: 'it is held' });
  const other = client.verifies.ask('b.db');
  await assert.rejects(other, { message: 'b.db is not what was subscribed to' });
  assert(!asked.has('b.db'));
});

it('does not wait for a server that is gone', async () => {
  const { client, cut } = await following();
  const answer = client.verifies.ask('a.db');
  await settle();
  const rejected = assert.rejects(answer, { code: 'PEER_UNREACHABLE' });
  cut();
  await rejected;
  await settle(4);
  await assert.rejects(client.verifies.ask('a.db'), { code: 'PEER_UNREACHABLE' });
  // What comes of it then goes nowhere.
  asked.get('a.db')?.resolve(READ);
  await settle(4);
});

it('cannot be asked by a node that has not announced it', async () => {
  const { near, ended } = await met(FEATURE_VERIFY ^ 0xf);
  near.send('VERIFY', encodeNamedId('a.db', 1));
  await settle(4);
  assert(ended());
  assert.equal(asked.size, 0);
  const knows = await met(FEATURE_VERIFY);
  knows.near.send('VERIFY', encodeNamedId('a.db', 1));
  await settle(4);
  assert(!knows.ended());
  assert.equal(asked.size, 1);
  knows.near.send('VERIFY', encodeNamedId('a.db', 2));
  await settle(4);
  assert(knows.ended(), 'one at a time');
});

it('cannot be asked by a node that is refused', async () => {
  const { near } = await met(FEATURE_VERIFY, { ...REPLICA, clusterId: 'c00000000000000f' });
  near.send('VERIFY', encodeNamedId('a.db', 1));
  await settle(4);
  assert.equal(asked.size, 0);
});

async function met(features: number, node: LocalNode = REPLICA): Promise<Greeted> {
  const end = await greeted({ features, node, verifier });
  ends.push(end.close);
  return end;
}

it('has no limit of time as long as the server is heard', async () => {
  const { client } = await following();
  const answer = client.verifies.ask('a.db');
  for (let second = 0; second < 60; second++) {
    mock.timers.tick(1000);
    await settle(4);
  }
  asked.get('a.db')?.resolve(READ);
  assert.deepEqual(await answer, READ);
});

it('asks nothing before it knows what the server has, and after it has lost it', async () => {
  const stand = await follow(new MemoryStore(), new MemoryStore());
  try {
    const early = stand.client.verify('a.db');
    await assert.rejects(early, { code: 'PEER_UNREACHABLE', message: /there is no connection to/ });
    await stand.synced();
    const answer = stand.client.verify('a.db');
    await assert.rejects(answer, { code: 'WRONG_STATE', message: 'no' });
    stand.isAway = true;
    stand.cut();
    await stand.lost();
    await assert.rejects(stand.client.verify('a.db'), { code: 'PEER_UNREACHABLE' });
  } finally {
    await stand.close();
  }
});

it('is one question at a time for each database, and known answers only', () => {
  const sent: [string, Buffer][] = [];
  const transport = {
    send: (name: string, payload: Buffer) => sent.push([name, payload]),
  } as unknown as FrameTransport;
  const answerer = new VerifyAnswerer(transport, verifier);
  const all = () => true;
  answerer.verify(encodeNamedId('a.db', 1), all);
  answerer.verify(encodeNamedId('b.db', 2), all);
  assert.throws(() => answerer.verify(encodeNamedId('a.db', 3), all), { code: 'PROTOCOL' });

  const asker = new VerifyAsker(transport);
  const found: Verified['found'] = { unknown: 'it is' };
  assert.throws(() => asker.verified({ database: 'a.db', id: 1, found }), { code: 'PROTOCOL' });
  asker.ask('a.db').catch(() => {});
  assert.throws(() => asker.verified({ database: 'a.db', id: 9, found }), { code: 'PROTOCOL' });
  asker.close();
});

it('says something when a bug has nothing to say', async () => {
  const sent: Buffer[] = [];
  const transport = {
    send: (_: string, payload: Buffer) => sent.push(payload),
  } as unknown as FrameTransport;
  const host = { primaryPages: () => Promise.reject(new Error('')) };
  new VerifyAnswerer(transport, host).verify(encodeNamedId('a.db', 1), () => true);
  await settle(2);
  assert.deepEqual(decodeVerified(sent[0]).found, { unknown: 'it failed' });
});

it('is announced by one bit that no other feature has', () => {
  assert.equal(FEATURE_VERIFY, 8);
  assert.deepEqual([FRAME_TYPES.VERIFY, FRAME_TYPES.VERIFIED], [22, 23]);
});
