/**
 * A database file that is changed without an event: each change is compared once, and none is taken for captured. Found by a
 * review of the commit that began to look (0bc51d1 and the next).
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import readline from 'node:readline';
import { test } from 'node:test';
import { EngineStand } from '../../harness/engine-stand.ts';
import { withFolder } from '../os/folder.ts';

const PAGE_BYTES = 4096;
const PAGES = 10_000;
const SMALL = 'CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(20000));';
const LARGE = `CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(${PAGES * PAGE_BYTES}));`;
/** Maps a file, and stores a byte at each place that it is told. */
const STORE = `
import mmap, os, sys
b = os.open(sys.argv[1], os.O_RDWR)
v = mmap.mmap(b, os.fstat(b).st_size)
for line in sys.stdin:
    at, byte = line.split()
    v[int(at)] = int(byte)
    print('stored', flush=True)
`;

for (const mode of ['delete', 'wal']) {
  test(`is compared once for each change, journal mode ${mode}`, () =>
    withStand(async (node) => {
      await node.commit('a.db', `PRAGMA journal_mode=${mode}; ${SMALL} PRAGMA wal_checkpoint;`);
      await quiet(node);
      const later = new Date(Date.now() + 5000);
      fs.utimesSync(node.file('a.db'), later, later);
      for (let i = 0; i < 3; i++) await release(node, 'a.db');
      await assertCompared(node, 1);
      await using file = await map(node.file('a.db'));
      await file.store(4 * PAGE_BYTES + 100, 7);
      for (let i = 0; i < 3; i++) await release(node, 'a.db');
      await assertCompared(node, 2);
      // Into the same page, which is mapped still.
      await file.store(4 * PAGE_BYTES + 100, 8);
      await release(node, 'a.db');
      await assertCompared(node, 3);
      await assertTrue(node, 'a.db');
    }));
}

test('is compared behind a clean restart', () =>
  withFolder(async (folder) => {
    for (let life = 0; life < 3; life++) {
      const node = new EngineStand(folder, { strictVerify: false });
      await node.start();
      if (life === 0) await node.commit('c.db', SMALL);
      await quiet(node);
      if (life === 1) {
        await using file = await map(node.file('c.db'));
        await file.store(5 * PAGE_BYTES + 50, 7);
      }
      await node.stop();
      if (life === 2) assert.equal(compared(node), 0, 'the stop before has found it');
      if (life === 1) assert.equal(compared(node), 1);
    }
  }));

test('is compared once more when it changes while it is compared', () =>
  withStand(async (node) => {
    await node.commit('d.db', LARGE);
    await quiet(node);
    await using file = await map(node.file('d.db'));
    const fd = fs.openSync(node.file('d.db'), 'r+');
    fs.writeSync(fd, Buffer.from([5]), 0, 1, PAGE_BYTES * (PAGES - 100) + 9);
    fs.closeSync(fd);
    const db = node.database('d.db');
    await node.until('a comparison is under way', () => db.suspicion !== undefined);
    for (let i = 0; i < 6; i++) node.engine.step();
    assert(db.suspicion !== undefined, 'it is under way still');
    await file.store(2 * PAGE_BYTES + 50, 77);
    await node.until('it is over', () => db.suspicion === undefined);
    await release(node, 'd.db');
    await assertCompared(node, 2);
    await assertTrue(node, 'd.db');
  }));

async function withStand(use: (node: EngineStand) => Promise<void>): Promise<void> {
  await withFolder(async (folder) => {
    const node = new EngineStand(folder, { strictVerify: false });
    await node.start();
    await use(node);
    await node.stop();
  });
}

/** A process that has a file mapped, which ends with the block. */
async function map(file: string) {
  const child = spawn('python3', ['-c', STORE, file], { stdio: ['pipe', 'pipe', 'inherit'] });
  // Lines: where PYTHONUNBUFFERED is set, the end of one comes apart from it.
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async store(at: number, byte: number): Promise<void> {
      child.stdin.write(`${at} ${byte}\n`);
      assert.equal((await lines.next()).value, 'stored');
    },
    async [Symbol.asyncDispose](): Promise<void> {
      child.stdin.end();
      await once(child, 'exit');
    },
  };
}

async function release(node: EngineStand, path: string): Promise<void> {
  node.engine.mountMessage({ kind: 'event', event: { kind: 'released', path, pid: 0 } });
  await quiet(node);
}

/** Until nothing is to be looked at in a moment. */
async function quiet(node: EngineStand): Promise<void> {
  await node.until('it is quiet', () => (node.engine.step() ?? Infinity) > 50);
}

/** So often, and not once more: what could not be read at once is tried again after a while. */
async function assertCompared(node: EngineStand, times: number): Promise<void> {
  await node.until(`it is compared ${times} times`, () => compared(node) >= times);
  await quiet(node);
  assert.equal(compared(node), times);
}

function compared(node: EngineStand): number {
  return node.logged(/compared every page/).length;
}

async function assertTrue(node: EngineStand, database: string): Promise<void> {
  const { badPages } = await node.call('verify', { database, recall: undefined });
  assert.deepEqual(badPages, []);
}
