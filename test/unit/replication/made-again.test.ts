/** A database that is dropped on the primary, and made again, while a replica is connected. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, it, mock } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { MemoryStore } from './memory-store.ts';
import { type Connection, connect, PRIMARY, REPLICA, settle, until } from './stand.ts';

const clock = { wallMs: () => 0, monotonicMs: () => 0 };
let primary: MemoryStore;
let replica: MemoryStore;
let link: Connection;

beforeEach(async () => {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  [primary, replica] = [new MemoryStore(), new MemoryStore()];
  primary.commit('a.db', new Map([[1, 1n]]));
  link = connect({ store: replica, local: REPLICA }, { store: primary, local: PRIMARY }, clock);
  await settle();
});
afterEach(async () => {
  link.cut();
  await settle(4);
  mock.timers.reset();
});

it('comes also when the replica had failed to apply something of the one before it', async () => {
  replica.diskIsFull = () => true;
  primary.commit('a.db', new Map([[1, 2n]]));
  await settle();
  replica.diskIsFull = () => false;
  primary.remove('a.db');
  await settle();
  primary.commit('a.db', new Map([[1, 3n]]));
  mock.timers.tick(1000);
  await settle();
  assert.deepEqual(replica.positions(), primary.positions());
  assert.deepEqual(replica.kept, []);
});

it('comes also when the replica has asked for it meanwhile', async () => {
  replica.drop = () => Promise.resolve();
  primary.remove('a.db');
  await settle();
  assert.equal(replica.databases.size, 1, 'it is still on its way out');
  link.client.compare('a.db', { txid: 1, checksum: 7n });
  mock.timers.tick(0);
  await settle();
  replica.remove('a.db');
  primary.commit('a.db', new Map([[1, 3n]]));
  mock.timers.tick(1000);
  await settle();
  assert.deepEqual(replica.positions(), primary.positions());
});

describe('what the log has of it in a file, and is being sent when it is dropped,', () => {
  /** The entry, in a file of `bytes`; `reading` is called while it is read. */
  function filed(dir: string, bytes: number, reading: () => void): void {
    const file = path.join(dir, 'entry');
    const [entry] = primary.databases.get('b.db')?.log ?? [];
    assert('bytes' in entry.source);
    fs.writeFileSync(file, Buffer.concat([entry.source.bytes, Buffer.alloc(bytes)]));
    Object.assign(entry, { source: { path: file, offset: 0, length: fs.statSync(file).size } });
    const open = fs.promises.open.bind(fs.promises);
    mock.method(fs.promises, 'open', async (...args: Parameters<typeof open>) => {
      const handle = await open(...args);
      const read = handle.read.bind(handle) as (...all: unknown[]) => unknown;
      Object.assign(handle, {
        read: async (...all: unknown[]) => {
          const result = await read(...all);
          reading();
          return result;
        },
      });
      return handle;
    });
  }

  for (const [what, bytes, reads] of [
    ['whole', 0, 1],
    ['in chunks', 4 << 20, 3],
  ] as const) {
    for (const how of ['remove', 'forget'] as const) {
      it(`ends nothing (${what}, ${how})`, async () => {
        const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'made-again-'));
        try {
          link.cut();
          await settle(4);
          Object.assign(replica, { spoolDir: dir });
          primary.commit('b.db', new Map([[1, 1n]]));
          let count = 0;
          filed(dir, bytes, () => {
            if (++count === reads) primary[how]('b.db');
          });
          link = connect(
            { store: replica, local: REPLICA },
            { store: primary, local: PRIMARY },
            clock,
          );
          await until(() => count === reads);
          await settle(200);
          primary.commit('a.db', new Map([[1, 9n]]));
          primary.commit('b.db', new Map([[1, 5n]]));
          // What is in a file comes when the disk has read it.
          await until(() => isDeepStrictEqual(replica.positions(), primary.positions()));
          assert.equal(link.ended(), undefined);
          assert.deepEqual(replica.kept, []);
          assert.deepEqual(fs.readdirSync(dir), ['entry']);
        } finally {
          mock.restoreAll();
          fs.rmSync(dir, { recursive: true });
        }
      });
    }
  }
});
