/**
 * Who may write under the halt lock where there is no secret: a node that runs as the same user, on the same machine. On
 * 25311ce every user of the machine could connect to the port and write all databases.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ReplicationClient } from '../../../src/replication/client.ts';
import { ReplicationServer } from '../../../src/replication/server.ts';
import { MemoryStore } from './memory-store.ts';
import { NO_HALTS, NO_VERIFIER, PRIMARY, REPLICA, SILENT, UPSTREAM } from './stand.ts';

const ROOT = 0;
const NOBODY = 65534;
const AT = { txid: 1, checksum: 1n };
const clock = { wallMs: () => Date.now(), monotonicMs: () => performance.now() };

/** Asks for the lock over a connection that this user has made. Rejects with what the primary answers. */
async function ask(uid: number, address: string, secret?: string): Promise<unknown> {
  const common = { secret, log: SILENT, clock, random: (bytes: number) => Buffer.alloc(bytes, 1) };
  const server = new ReplicationServer({
    ...common,
    store: new MemoryStore(),
    local: () => PRIMARY,
    halts: { ...NO_HALTS, lend: async () => AT },
    verifier: NO_VERIFIER,
    upstream: () => UPSTREAM,
    onRefused() {},
    onNeeds() {},
  });
  const port = await server.listen(undefined, 0);
  const synced = Promise.withResolvers<void>();
  const client = new ReplicationClient({
    ...common,
    store: new MemoryStore(),
    local: () => REPLICA,
    target: { host: address, port },
    reconnectDelayMs: 1000,
    patterns: undefined,
    events: { met() {}, lost() {}, synced: synced.resolve },
  });
  try {
    process.seteuid?.(uid);
    client.start();
    await synced.promise;
    process.seteuid?.(ROOT);
    return await client.halt('a.db', 7, 1000);
  } finally {
    process.seteuid?.(ROOT);
    client.close();
    await server.close();
  }
}

describe('the halt lock', () => {
  for (const address of ['127.0.0.1', '::1']) {
    it(`is lent to a node of the same user, at ${address}`, async () => {
      assert.deepEqual(await ask(ROOT, address), AT);
    });

    it(`is not lent to another user without a secret, at ${address}`, async () => {
      await assert.rejects(ask(NOBODY, address), {
        code: 'WRONG_STATE',
        message: /without replication\.secret only nodes of one machine may, run by the same user/,
      });
    });
  }

  it('is lent to who knows the secret', async () => {
    assert.deepEqual(await ask(NOBODY, '127.0.0.1', 'sesame'), AT);
  });
});
