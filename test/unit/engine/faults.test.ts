/**
 * Each file operation of the engine fails once, or for a while, with each error that a disk, a quota, or a process without
 * descriptors or memory has; then it is healed. The engine goes on, nothing is lost, and nothing is half.
 *
 * `LITEFS_LITE_FAULTS=all` takes each operation; otherwise some, chosen at random.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { checkpoint } from '../../../src/engine/apply/checkpoints.ts';
import { isOutsideFault } from '../../../src/errors.ts';
import type { Position } from '../../../src/ltx/position.ts';
import { sqlite3 } from '../../harness/app.ts';
import { EngineStand } from '../../harness/engine-stand.ts';
import { databaseImage } from '../../harness/image.ts';
import { SeededRandom } from '../../harness/random.ts';
import { runSql } from '../../harness/sql.ts';
import { withFolder } from '../os/folder.ts';
import { FAULTS, type Fault, FaultyDisk } from './faulty-disk.ts';
import { finish, NodeStand } from './node-stand.ts';

const NAME = 'sub/app.db';
const ALL = process.env.LITEFS_LITE_FAULTS === 'all';
const CHOSEN = 40;
/** Operations that fail in a row: one alone may be tried again by itself. */
const LENGTHS = [1, 3, 40];
const TRIES_MAX = 200;
const STATEMENTS = [
  'CREATE TABLE t(id INTEGER PRIMARY KEY, data); INSERT INTO t(data) VALUES(hex(randomblob(3000)));',
  'INSERT INTO t(data) SELECT hex(randomblob(2000)) FROM t, (SELECT 1 UNION SELECT 2 UNION SELECT 3);',
  'UPDATE t SET data = 1 WHERE id = 1;',
  'DELETE FROM t WHERE id > 2; PRAGMA incremental_vacuum;',
];

/** The engine has ended, and the daemon with it. */
class Ended extends Error {}

const now = performance.now.bind(performance);
let aheadMs = 0;
performance.now = () => now() + aheadMs;

/** A node whose rests take no time. */
function nodeAt(dir: string, role: 'primary' | 'replica'): EngineStand {
  const stand = new EngineStand(dir, { role, formerRole: role });
  const step = stand.engine.step.bind(stand.engine);
  stand.engine.step = () => {
    try {
      const restMs = step();
      aheadMs += restMs ?? 0;
      return restMs;
    } catch (error) {
      throw new Ended('the engine ended', { cause: error });
    }
  };
  return stand;
}

/** What a client does whose call is refused by the outside world: it asks again. */
async function insisted(call: () => Promise<unknown>): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      await call();
      return;
    } catch (error) {
      if (error instanceof Ended || !isOutsideFault(error) || tries >= TRIES_MAX) throw error;
    }
  }
}

interface Point {
  readonly n: number;
  readonly count: number;
  readonly fault: Fault;
}

/** Runs a scenario without faults, to count its operations, and then with each of the chosen ones. */
async function atEachOperation(
  t: TestContext,
  run: (disk: FaultyDisk, dir: string, point: Point) => Promise<void>,
): Promise<void> {
  const random = new SeededRandom();
  await withFolder(async (folder) => {
    const disk = new FaultyDisk(t, folder);
    let runs = 0;
    const once = async (point: Point) => {
      const dir = path.join(folder, `${runs++}`);
      const { n, count, fault } = point;
      try {
        await run(disk, dir, point);
      } catch (error) {
        disk.heal();
        const what = disk.failed.slice(0, 3).join(', ');
        const where = `operation ${n} (${what}), ${count} in a row with ${fault}, seed ${random.seed}`;
        throw new Error(`${where}: ${(error as Error).message}`, { cause: error });
      } finally {
        disk.heal();
        disk.failed.length = 0;
        fs.rmSync(dir, { recursive: true, force: true });
      }
    };
    await once({ n: Number.POSITIVE_INFINITY, count: 0, fault: 'EIO' });
    const total = disk.calls;
    assert(total > 50, `${total} operations are not those of a node`);
    const wanted = ALL ? total : CHOSEN;
    for (let i = 1; i <= wanted; i++) {
      const n = ALL ? i : 1 + random.below(total);
      const fault = FAULTS[(i + random.below(2)) % FAULTS.length];
      await once({ n, count: LENGTHS[i % LENGTHS.length], fault });
    }
    t.diagnostic(`${wanted} of ${total} operations`);
  });
}

for (const mode of ['wal', 'delete'] as const) {
  test(`a primary, journal_mode=${mode}`, (t) =>
    atEachOperation(t, async (disk, dir, { n, count, fault }) => {
      const stand = nodeAt(dir, 'primary');
      fs.mkdirSync(path.dirname(stand.file(NAME)));
      await stand.start();
      disk.begin(n, count, fault);
      for (const sql of STATEMENTS) {
        runSql(stand.file(NAME), `PRAGMA journal_mode=${mode}; ${sql}`);
        await insisted(() => stand.call('flush', {}));
      }
      await insisted(() => stand.call('verifyPart', { database: NAME, from: 1 }));
      const calls = disk.calls;
      disk.heal();
      disk.calls = calls;
      const db = stand.database(NAME);
      // Whatever has failed is looked at again by itself.
      await stand.until(
        'all is well again',
        () => db.status.state === 'ok' && db.suspicion === undefined,
      );
      await stand.call('flush', {});
      const { badCount } = await stand.call('verifyPart', { database: NAME, from: 1 });
      assert.equal(badCount, 0);
      const image = databaseImage(stand.file(NAME));
      await assertLogHolds(stand, dir, image);
      await stand.stop();
      const next = nodeAt(dir, 'primary');
      await next.start();
      await next.call('flush', {});
      assert(databaseImage(next.file(NAME)).equals(image));
      await assertLogHolds(next, dir, image);
      await next.stop();
      disk.calls = calls;
    }));

  test(`a replica, journal_mode=${mode}`, async (t) => {
    await withFolder(async (source) => {
      const { entries, image, last } = madeOn(source, mode);
      await atEachOperation(t, async (disk, dir, { n, count, fault }) => {
        const stand = nodeAt(dir, 'replica');
        await stand.start();
        disk.begin(n, count, fault);
        for (const bytes of entries) {
          const position = await appliedOn(stand, bytes);
          assert(position !== undefined);
        }
        const db = stand.database(NAME);
        finish(checkpoint(stand.engine.ctx, db));
        await insisted(() => stand.call('verify', { database: NAME, recall: undefined }));
        const calls = disk.calls;
        disk.heal();
        assert.deepEqual(db.position, last);
        assert(databaseImage(stand.file(NAME)).equals(image));
        assert.equal(sqlite3(`file:${stand.file(NAME)}?mode=ro`, 'PRAGMA integrity_check'), 'ok');
        assert((await stand.call('verify', { database: NAME, recall: undefined })).ok);
        await stand.stop();
        const next = nodeAt(dir, 'replica');
        await next.start();
        assert.deepEqual(next.database(NAME).position, last);
        assert(databaseImage(next.file(NAME)).equals(image));
        await next.stop();
        disk.calls = calls;
      });
    });
  });
}

interface Made {
  readonly entries: readonly Buffer[];
  readonly image: Buffer;
  readonly last: Position;
}

/** Entries of a primary, and what the database is after the last. */
function madeOn(dir: string, mode: string): Made {
  fs.mkdirSync(path.join(dir, 'tree', 'sub'), { recursive: true });
  const primary = new NodeStand(dir, NAME);
  let image: Buffer = Buffer.alloc(0);
  for (const sql of STATEMENTS) {
    primary.sql(`PRAGMA journal_mode=${mode}; ${sql}`);
    primary.capture(mode !== 'wal');
    image = databaseImage(primary.file);
  }
  primary.close();
  return { entries: primary.entries, image, last: primary.db.position };
}

/** Sends a transaction until the replica has it. */
async function appliedOn(stand: EngineStand, bytes: Buffer): Promise<unknown> {
  let position: unknown;
  await insisted(async () => {
    position = await stand.call('apply', {
      database: NAME,
      source: { bytes: new Uint8Array(bytes) },
    });
  });
  return position;
}

/** What the log makes is what SQLite sees. */
async function assertLogHolds(stand: EngineStand, dir: string, image: Buffer): Promise<void> {
  const zero = { txid: 0, checksum: 0n };
  const read = await stand.call('readLog', {
    database: NAME,
    after: zero,
    maxBytes: Number.MAX_SAFE_INTEGER,
  });
  assert.equal(read.kind, 'entries');
  if (read.kind !== 'entries') return;
  const made = path.join(dir, 'made');
  fs.rmSync(made, { recursive: true, force: true });
  const replica = new NodeStand(made);
  try {
    for (const { source } of read.entries) {
      assert('path' in source);
      const bytes = fs.readFileSync(source.path).subarray(source.offset).subarray(0, source.length);
      for (const { error } of replica.apply(bytes)) assert.ifError(error);
    }
    assert.deepEqual(replica.db.position, stand.database(NAME).position);
    assert(databaseImage(replica.file).equals(image), 'the log makes other pages');
  } finally {
    replica.close();
  }
}
