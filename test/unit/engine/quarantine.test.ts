/** A database that cannot be understood: its name keeps its place until a good one takes it. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import type { EngineNews, EngineOptions } from '../../../src/engine/protocol.ts';
import type { TreeEvent } from '../../../src/fuse/policy.ts';
import type { Position } from '../../../src/ltx/position.ts';
import { layoutOf } from '../../../src/store/layout.ts';
import { EngineStand } from '../../harness/engine-stand.ts';
import { withFolder } from '../os/folder.ts';

const NAME = 'app.db';

interface Ruin {
  readonly dir: string;
  /** The database as it was. */
  readonly good: Buffer;
  readonly position: Position;
}

/** A data directory after a clean stop whose one database, of three transactions, was damaged since. */
function withRuin(body: (ruin: Ruin) => Promise<void>): Promise<void> {
  return withFolder(async (dir) => {
    const stand = new EngineStand(dir);
    await stand.start();
    for (const sql of ['CREATE TABLE t(x);', 'INSERT INTO t VALUES(1);', 'DELETE FROM t;']) {
      await stand.commit(NAME, `PRAGMA journal_mode = wal; ${sql}`);
    }
    const file = stand.file(NAME);
    await stand.commit(NAME, 'PRAGMA wal_checkpoint(TRUNCATE);');
    await stand.stop();
    const good = fs.readFileSync(file);
    fs.writeFileSync(file, `SQLite format 3\0${'garbage'.repeat(1000)}`);
    await body({ dir, good, position: stand.database(NAME).position });
  });
}

async function started(dir: string, options: Partial<EngineOptions> = {}): Promise<EngineStand> {
  const stand = new EngineStand(dir, options);
  await stand.start();
  return stand;
}

function recovered(stand: EngineStand): { databases: string[]; aside: readonly string[] } {
  const news = stand.news.find(({ kind }) => kind === 'recovered');
  const { databases, aside } = news as Extract<EngineNews, { kind: 'recovered' }>;
  return { databases: databases.map(({ name }) => name), aside };
}

function entries(stand: EngineStand): number {
  return stand.news.filter(({ kind }) => kind === 'entry').length;
}

test('on a primary it keeps its position over restarts, and is not dropped', () =>
  withRuin(async ({ dir, position }) => {
    for (let start = 1; start <= 2; start++) {
      const stand = await started(dir);
      assert.deepEqual(recovered(stand), { databases: [], aside: [NAME] }, `start ${start}`);
      assert.deepEqual(stand.database(NAME).position, position);
      const [info] = await stand.call('info', {});
      assert.equal(info.status.state, 'degraded');
      assert.match(JSON.stringify(info.status), /app\.db has a damaged header.*quarantine/);
      await stand.call('flush', {});
      assert.equal((await stand.call('info', {}))[0].status.state, 'degraded');
      await stand.stop();
      assert.equal(entries(stand), 0);
    }
    assert.equal(fs.readdirSync(layoutOf(dir).quarantine).length, 1);
  }));

// On e8b0209 replicas were told that it was dropped, and removed what they had.
test('what is put in its place and removed again is not its end', () =>
  withRuin(async ({ dir, position }) => {
    const stand = await started(dir);
    const tell = (event: TreeEvent) => stand.engine.mountMessage({ kind: 'event', event });
    fs.writeFileSync(stand.file(NAME), '');
    tell({ kind: 'created', path: NAME, isFile: true });
    fs.rmSync(stand.file(NAME));
    tell({ kind: 'removed', path: NAME });
    await stand.call('flush', {});
    assert(!stand.news.some(({ kind }) => kind === 'dropped'));
    assert.deepEqual(stand.database(NAME).position, position);
    await stand.stop();
  }));

test('a good one that takes its name is the transaction that follows', () =>
  withRuin(async ({ dir, good, position }) => {
    const stand = await started(dir);
    const db = stand.database(NAME);
    fs.writeFileSync(stand.file(NAME), good);
    await stand.until('it is captured', () => db.pageCount > 0);
    assert.equal(db.position.txid, position.txid + 1);
    assert.deepEqual(db.log.last?.pre, position);
    assert.deepEqual(stand.statuses(NAME).at(-1), { state: 'ok' });
    await stand.commit(NAME, 'INSERT INTO t VALUES(9);');
    assert.equal(db.position.txid, position.txid + 2);
    await stand.stop();

    const again = await started(dir);
    assert.deepEqual(recovered(again), { databases: [NAME], aside: [] });
    assert.equal(again.database(NAME).position.txid, position.txid + 2);
    await again.stop();
  }));

test('a good one that was put there while the node was down is taken for what it is', () =>
  withRuin(async ({ dir, good, position }) => {
    await (await started(dir)).stop();
    fs.writeFileSync(path.join(layoutOf(dir).tree, NAME), good);
    const stand = await started(dir);
    assert.deepEqual(recovered(stand), { databases: [NAME], aside: [] });
    assert.deepEqual(stand.database(NAME).position, position, 'it is what replicas have');
    assert.deepEqual(stand.statuses(NAME), []);
    await stand.stop();
    assert.deepEqual(recovered(await started(dir)).aside, []);
  }));

for (const when of ['at once', 'later']) {
  test(`a replica begins with nothing, also a former primary (${when})`, () =>
    withRuin(async ({ dir }) => {
      const options = { role: 'replica', formerRole: 'primary' } as const;
      if (when === 'later') await (await started(dir)).stop();
      const stand = await started(dir, options);
      assert.deepEqual(recovered(stand), { databases: [], aside: [] });
      assert.equal(stand.engine.registry.get(NAME), undefined);
      const again = stand.engine.registry.open(NAME);
      assert.deepEqual([again?.position.txid, again?.log.entryCount], [0, 0]);
      await stand.stop();
    }));
}

test('what was never captured leaves nothing but its files', () =>
  withFolder(async (dir) => {
    fs.mkdirSync(layoutOf(dir).tree, { recursive: true });
    fs.writeFileSync(path.join(layoutOf(dir).tree, NAME), `SQLite format 3\0${'x'.repeat(5000)}`);
    const stand = await started(dir);
    assert.deepEqual(recovered(stand), { databases: [], aside: [] });
    assert.deepEqual(await stand.call('info', {}), []);
    assert.equal(stand.logged(/its files are in .*quarantine/).length, 1);
    await stand.stop();
  }));
