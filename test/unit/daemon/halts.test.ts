/** The halt lock of a replica whose connection goes while it is being taken. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { pino } from 'pino';
import { Halts } from '../../../src/daemon/halts.ts';
import type { EngineClient } from '../../../src/engine/client.ts';
import type { NodeIdentity } from '../../../src/lease/node-identity.ts';
import type { ReplicationClient } from '../../../src/replication/client.ts';

const AT = { txid: 7, checksum: 1n };

it('leaves nothing writable when the connection was lost before the engine had begun', async () => {
  const asked = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  let writable = false;
  const engine = {
    positions: () => new Map([['a.db', AT]]),
    onPosition: () => () => {},
    async call(name: string) {
      if (name === 'haltBegin') {
        asked.resolve();
        // Behind an apply in the lane of the database.
        await begun.promise;
        writable = true;
      } else if (name === 'haltEnd') {
        writable = false;
        return { undone: false };
      }
    },
  };
  const client = { halt: async () => AT, unhalt() {} };
  const halts = new Halts({
    identity: { role: 'replica', hostname: 'box2' } as NodeIdentity,
    engine: engine as unknown as EngineClient,
    log: pino({ level: 'silent' }),
    client: () => client as unknown as ReplicationClient,
  });
  try {
    const taken = halts.take('a.db', 1);
    await asked.promise;
    halts.disconnected();
    begun.resolve();
    await assert.rejects(taken, /the connection to the primary was lost/);
    assert(!writable, 'applies would wait for it for ever');
    assert.equal(halts.holder('a.db'), undefined);
    await halts.take('a.db', 2);
    assert(writable);
  } finally {
    halts.close();
  }
});
