/** The marker of a clean stop: it stands for what was captured, not for what was there when it was written. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { formatPosition } from '../../../src/ltx/position.ts';
import { layoutOf } from '../../../src/store/layout.ts';
import { lookOf } from '../../../src/store/marker.ts';
import { EngineStand } from '../../harness/engine-stand.ts';
import { databaseImage, positionOf } from '../../harness/image.ts';
import { runSql } from '../../harness/sql.ts';
import { withFolder } from '../os/folder.ts';

const NAME = 'app.db';
const COMPARED = /comparing every page/;

/** A primary with one database that has been captured. */
function withPrimary(body: (stand: EngineStand, dir: string) => Promise<void>): Promise<void> {
  return withFolder(async (dir) => {
    const stand = new EngineStand(dir);
    await stand.start();
    await stand.commit(NAME, 'PRAGMA journal_mode = wal; CREATE TABLE t(x);');
    await body(stand, dir);
  });
}

async function nextStart(dir: string): Promise<EngineStand> {
  const next = new EngineStand(dir);
  await next.start();
  return next;
}

test('nothing is compared when nothing has changed, however late the last commit was', () =>
  withPrimary(async (stand, dir) => {
    await stand.commit(NAME, 'INSERT INTO t VALUES(1);');
    await stand.stop();
    const next = await nextStart(dir);
    assert.deepEqual(next.logged(COMPARED), []);
    assert.deepEqual(next.database(NAME).position, stand.database(NAME).position);
    next.die();
  }));

test('a commit between the last capture and the unmount is captured by the next start', () =>
  withPrimary(async (stand, dir) => {
    await stand.call('detach', {});
    const { txid } = stand.database(NAME).position;
    runSql(stand.file(NAME), 'INSERT INTO t VALUES(1);');
    await stand.call('stop', { isUnused: true });
    assert.equal(stand.database(NAME).position.txid, txid);
    const next = await nextStart(dir);
    assert.equal(next.database(NAME).position.txid, txid + 1);
    next.die();
  }));

/** Has the marker hold how the files look now: what was done to them changed nothing that a look shows. */
function lookUnchanged(stand: EngineStand): void {
  const { markerFile } = stand.database(NAME);
  const marker = JSON.parse(fs.readFileSync(markerFile, 'utf8'));
  marker.database = lookOf(fs.statSync(stand.file(NAME), { bigint: true }));
  marker.wal = lookOf(fs.statSync(`${stand.file(NAME)}-wal`, { bigint: true }));
  fs.writeFileSync(markerFile, JSON.stringify(marker));
}

// Whatever the -wal had, these started at the position of the marker, and the database was another.
for (const [what, change] of [
  ['has lost its end', (wal: string) => overwriteLast(wal)],
  [
    'was written by a commit that nothing shows',
    (wal: string) => runSql(wal.slice(0, -'-wal'.length), 'INSERT INTO t VALUES(2);'),
  ],
] as const) {
  test(`a marker beside a -wal that ${what} does not count`, () =>
    withPrimary(async (stand, dir) => {
      await stand.commit(NAME, 'INSERT INTO t VALUES(1);');
      await stand.stop();
      const { txid } = stand.database(NAME).position;
      change(`${stand.file(NAME)}-wal`);
      lookUnchanged(stand);
      const next = await nextStart(dir);
      assert.equal(next.logged(COMPARED).length, 1);
      const { position } = next.database(NAME);
      assert.equal(position.txid, txid + 1);
      assert.equal(
        positionOf(position.txid, databaseImage(stand.file(NAME))),
        formatPosition(position),
      );
      next.die();
    }));
}

/** The last byte, which belongs to the page of a commit frame. */
function overwriteLast(file: string): void {
  const bytes = fs.readFileSync(file);
  bytes[bytes.length - 1] ^= 0x55;
  fs.writeFileSync(file, bytes);
}

test('a last capture that locks kept from reading leaves no marker', () =>
  withPrimary(async (stand, dir) => {
    // biome-ignore lint/correctness/useYield: a task that need not wait
    stand.engine.follower.flush = function* () {
      return 'busy';
    };
    await stand.stop();
    const next = await nextStart(dir);
    assert.equal(next.logged(COMPARED).length, 1);
    next.die();
  }));

test('a start that came to nothing before the mount leaves the marker that it took', () =>
  withPrimary(async (stand, dir) => {
    await stand.stop();
    const failed = new EngineStand(dir);
    failed.engine.recover();
    await failed.stop();
    const next = await nextStart(dir);
    assert.deepEqual(next.logged(COMPARED), []);
    next.die();
  }));

test('a disk that takes no marker does not keep the node from stopping, nor others from theirs', () =>
  withPrimary(async (stand, dir) => {
    await stand.commit('other.db', 'PRAGMA journal_mode = wal; CREATE TABLE t(x);');
    const { state } = layoutOf(dir);
    fs.mkdirSync(path.join(state, `${NAME}.sums`));
    await stand.stop();
    assert(stand.engine.isStopped);
    assert.match(stand.logged(/was not written/).join(), /app\.db: .*EISDIR/);
    assert.deepEqual(
      fs.readdirSync(state).filter((name) => name.endsWith('.json')),
      ['other.db.json'],
    );
  }));
