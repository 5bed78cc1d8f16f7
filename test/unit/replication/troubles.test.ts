/** Databases that the primary does not replicate at present: its replicas are told, and told when that is over. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, it, mock } from 'node:test';
import { greeted } from './greeted.ts';
import { MemoryStore } from './memory-store.ts';
import { settle, until } from './stand.ts';
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
  const { got, close } = await greeted({ features: 3, upstream: { troubles: [TROUBLE] } });
  try {
    mock.timers.tick(1000);
    await settle();
    assert.deepEqual(got, ['HELLO', 'AUTH', 'WELCOME', 'SUBSCRIBED', 'HEARTBEAT']);
  } finally {
    close();
    await settle(4);
  }
});
