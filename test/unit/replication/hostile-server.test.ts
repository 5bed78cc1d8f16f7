/** What a server, which may be compromised, can have a replica keep or do by its frames. Sizes of databases: engine/announced.test.ts. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { duplexPair } from 'node:stream';
import { describe, it } from 'node:test';
import { ChecksumSender } from '../../../src/replication/checksum-sender.ts';
import { EntrySpools } from '../../../src/replication/entry-spools.ts';
import { Receivers } from '../../../src/replication/receivers.ts';
import { FrameTransport } from '../../../src/replication/transport.ts';
import { withFolder } from '../os/folder.ts';
import { MemoryStore } from './memory-store.ts';
import { SILENT, until } from './stand.ts';

const PAGE = new Map([[1, 1n]]);
const NAMES_MAX = 100;
const NO_EVENTS = { applied() {}, request: () => false, released() {}, discarded() {} };

describe('names that a server makes up', () => {
  const receivers = (store: MemoryStore) =>
    new Receivers({
      store,
      log: SILENT,
      wanted: () => true,
      events: NO_EVENTS,
      namesMax: NAMES_MAX,
    });

  // On 25311ce each name of a HEARTBEAT was kept for as long as the connection lasted.
  it('are kept for nothing that is only told of them', () => {
    const store = new MemoryStore();
    store.commit('a.db', PAGE);
    const all = receivers(store);
    for (let i = 0; i < 2 * NAMES_MAX; i++) assert.equal(all.about(`made-up-${i}.db`), undefined);
    assert(all.about('a.db'));
    assert.equal([...all].length, 1);
  });

  it('are forgotten where nothing came of them, and are at most as many as a node has databases', async () => {
    const store = new MemoryStore();
    const all = receivers(store);
    // As databases that come and go in the course of time.
    for (let i = 0; i < 5 * NAMES_MAX; i++) {
      const receiver = all.of(`gone-${i}.db`);
      receiver?.dropped(false);
      await receiver?.drained();
    }
    await until(() => [...all].every(([, receiver]) => receiver.isIdle));
    for (let i = 0; i < NAMES_MAX; i++) {
      store.commit(`here-${i}.db`, PAGE);
      assert(all.of(`here-${i}.db`));
    }
    assert.throws(() => all.of('one-more.db'), {
      code: 'PROTOCOL',
      message: /more than 100 databases/,
    });
  });
});

// On 25311ce each had a file that stayed open: the node had no descriptors left for its databases.
it('entries that are only announced have no files, and none has a descriptor', () =>
  withFolder((folder) => {
    const spools = new EntrySpools(folder);
    const open = () => fs.readdirSync('/proc/self/fd').length;
    const before = open();
    const names = Array.from({ length: 2000 }, (_, i) => `made-up-${i}.db`);
    for (const database of names) spools.begin({ database, length: 2 ** 40 });
    assert.deepEqual(fs.readdirSync(folder), []);
    for (const database of names) spools.chunk({ database, parts: [Buffer.from('x')] });
    assert.equal(open(), before);
    spools.dropAll();
    assert.deepEqual(fs.readdirSync(folder), []);
    spools.begin({ database: 'a.db', length: 3 });
    for (const text of ['a', 'bc']) spools.chunk({ database: 'a.db', parts: [Buffer.from(text)] });
    assert.equal(fs.readFileSync(spools.end('a.db') as string, 'latin1'), 'abc');
    spools.begin({ database: 'none.db', length: 0 });
    assert.equal(fs.readFileSync(spools.end('none.db') as string, 'latin1'), '');
  }));

// On 25311ce all were read at once, as often as they were asked for.
it('checksums that are asked for again and again are read one after the other, and few times', async () => {
  class Watched extends MemoryStore {
    now = 0;
    most = 0;
    reads = 0;
    override async pageChecksums(name: string) {
      this.reads++;
      this.most = Math.max(this.most, ++this.now);
      const checksums = await super.pageChecksums(name);
      this.now--;
      return checksums;
    }
  }
  const store = new Watched();
  for (const name of ['a.db', 'b.db']) store.commit(name, PAGE);
  const [near, far] = duplexPair();
  far.resume();
  const sender = new ChecksumSender({ store, transport: new FrameTransport(near) });
  for (let i = 0; i < 1000; i++) for (const name of ['a.db', 'b.db']) sender.ask(name);
  await until(() => store.reads > 0 && store.now === 0);
  sender.ask('a.db');
  const before = store.reads;
  await until(() => store.reads > before);
  assert.equal(store.most, 1);
  assert(store.reads <= 4, `${store.reads} readings`);
  near.destroy();
});
