/**
 * What readers of a replica need beside a database, looked at in each moment at which they can come: when the -wal is
 * unlocked, and when the database gets its name. On 25311ce it was made after each of these, and the wal-index of it not before the next
 * transaction.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { describe, it, type TestContext } from 'node:test';
import { ResyncTask } from '../../../src/engine/apply/resync.ts';
import { shmMode } from '../../../src/engine/files/ownership.ts';
import { parseDbHeader } from '../../../src/sqlite/db-header.ts';
import { WAL_LOCK_BASE, WAL_WRITE_SLOT } from '../../../src/sqlite/locks.ts';
import { parseWalHeader } from '../../../src/sqlite/wal.ts';
import { parseWalIndexHeader } from '../../../src/sqlite/wal-index.ts';
import { EngineStand } from '../../harness/engine-stand.ts';
import { runSql } from '../../harness/sql.ts';
import { withFolder } from '../os/folder.ts';
import { finish, type NodeStand } from './node-stand.ts';
import { assertSame, type Two, withTwo } from './two-nodes.ts';

const WRITE_BYTE = WAL_LOCK_BASE + WAL_WRITE_SLOT;
/** More than what a -wal may hold before it is checkpointed (4 MiB). */
const LARGE = 'INSERT INTO t(data) VALUES(randomblob(5000000));';

describe('when readers can come, -wal and -shm are complete', () => {
  it('with a database that comes as a transaction', (t) =>
    withTwo('wal', (two) => {
      const looks = watch(t, two.replica);
      apply(two, two.primary.entries);
      assert(looks.count > 0);
      assertSame(two);
    }));

  it('with one that comes as a whole', (t) =>
    withTwo('wal', (two) => {
      const { primary, replica } = two;
      two.commit('INSERT INTO t(data) VALUES(randomblob(20000));');
      const looks = watch(t, replica);
      resync(two, primary.entries, 4096);
      assert(looks.count > 0);
      assertSame(two);
    }));

  it('with a resync in its place, of another page size', (t) =>
    withTwo('wal', (two) => {
      const { primary, replica } = two;
      apply(two, primary.entries);
      const looks = watch(t, replica);
      two.commit(
        'PRAGMA journal_mode=delete; PRAGMA page_size=8192; VACUUM; PRAGMA journal_mode=wal;',
      );
      primary.capture(true);
      two.commit('INSERT INTO t(data) VALUES(2);');
      resync(two, primary.entries, 8192);
      assert(looks.count > 0);
      assertSame(two);
    }));

  it('with changes of the journal mode and the page size', (t) =>
    withTwo('delete', (two) => {
      const { primary, replica } = two;
      apply(two, primary.entries);
      const looks = watch(t, replica);
      for (const pageSize of [8192, 512, 4096]) {
        const from = primary.entries.length;
        two.commit("PRAGMA journal_mode=wal; INSERT INTO t(data) VALUES('wal');");
        primary.sql(`PRAGMA journal_mode=delete; PRAGMA page_size=${pageSize}; VACUUM;`);
        primary.capture(true);
        apply(two, primary.entries.slice(from));
        assertSame(two);
      }
      assert(looks.count > 0);
    }));

  it('with checkpoints, and a -wal that is started over', (t) =>
    withTwo('wal', (two) => {
      const looks = watch(t, two.replica);
      apply(two, two.primary.entries);
      for (let i = 0; i < 3; i++) {
        apply(two, two.commit(LARGE));
        looks.look();
        assert.equal(two.replica.db.wal.cursor?.frame, 0);
      }
      assertSame(two);
    }));

  it('with a disk that does not take the transaction', (t) =>
    withTwo('wal', (two) => {
      const { primary, replica } = two;
      apply(two, primary.entries);
      const looks = watch(t, replica);
      primary.sql(
        'PRAGMA journal_mode=delete; PRAGMA page_size=8192; VACUUM; PRAGMA journal_mode=wal;',
      );
      const from = primary.entries.length;
      primary.capture(true);
      const full = t.mock.method(replica.db.log, 'append', () => {
        throw Object.assign(new Error('no space'), { errno: -28, code: 'ENOSPC' });
      });
      const outcomes = replica.apply(...primary.entries.slice(from));
      full.mock.restore();
      assert.match(String(outcomes[0].error), /no space/);
      looks.look();
      apply(two, primary.entries.slice(from));
      assertSame(two);
    }));
});

it('a start of a replica has them before it is mounted, and heeds owner and mode', () =>
  withFolder(async (folder) => {
    const first = new EngineStand(folder, { role: 'replica' });
    const file = first.file('app.db');
    runSql(file, 'PRAGMA journal_mode=wal; CREATE TABLE t(x);');
    fs.chmodSync(file, 0o640);
    fs.chownSync(file, 4321, 1234);
    first.engine.recover();
    assertComplete(file);
    const { ino } = fs.statSync(`${file}-shm`);
    await first.call('attach', {});
    assertComplete(file);
    assert.equal(fs.statSync(`${file}-shm`).ino, ino);
    assert.deepEqual(
      ['-wal', '-shm'].map((suffix) => ownership(file + suffix)),
      [
        [0o640, 4321, 1234],
        [0o660, 4321, 1234],
      ],
    );
    await first.stop();

    // A -wal that a kill has left of a database that was about to come, or had gone.
    fs.rmSync(file);
    const second = new EngineStand(folder, { role: 'replica' });
    await second.start();
    assert(!fs.existsSync(`${file}-wal`) && !fs.existsSync(file));
    assert.deepEqual(fs.readdirSync(second.engine.ctx.layout.quarantine), []);
    await second.stop();
  }));

it('on a primary they are left to its applications', () =>
  withFolder(async (folder) => {
    const stand = new EngineStand(folder);
    const file = stand.file('app.db');
    runSql(file, 'PRAGMA journal_mode=wal; CREATE TABLE t(x);');
    await stand.start();
    assert(!fs.existsSync(`${file}-wal`) && !fs.existsSync(`${file}-shm`));
    await stand.stop();
  }));

it('those who may read a database may write its -shm, and no others', () => {
  const modes = [0o644, 0o640, 0o600, 0o604, 0o444, 0o755, 0o622, 0o200];
  const expected = [0o666, 0o660, 0o600, 0o606, 0o666, 0o666, 0o600, 0];
  assert.deepEqual(modes.map(shmMode), expected);
});

function apply({ replica }: Two, entries: readonly Buffer[]): void {
  for (const { error } of replica.apply(...entries)) assert.ifError(error);
}

function resync({ primary, replica }: Two, entries: readonly Buffer[], pageSize: number): void {
  const base = { position: primary.db.position, pageSize, pageCount: 0, diverged: false };
  const task = new ResyncTask(replica.ctx, replica.db, base);
  for (const bytes of entries) finish(task.entry({ bytes }));
  finish(task.finish(primary.db.position));
}

/** Looks whenever the write lock is about to be let go, or the database has just got its name. */
function watch(t: TestContext, { db, file }: NodeStand): { count: number; look(): void } {
  const looks = {
    count: 0,
    look() {
      looks.count++;
      if (fs.existsSync(file)) assertComplete(file);
    },
  };
  const lock = db.files.lock.bind(db.files);
  t.mock.method(db.files, 'lock', (...args: Parameters<typeof lock>) => {
    if (args[1] === 'unlock' && args[2] === WRITE_BYTE) looks.look();
    return lock(...args);
  });
  const linkIn = db.files.linkIn.bind(db.files);
  t.mock.method(db.files, 'linkIn', (path: string) => {
    const isLinked = linkIn(path);
    looks.look();
    return isLinked;
  });
  return looks;
}

function indexOf(file: string): ReturnType<typeof parseWalIndexHeader> {
  return parseWalIndexHeader(fs.readFileSync(`${file}-shm`));
}

function assertComplete(file: string): void {
  const wal = parseWalHeader(fs.readFileSync(`${file}-wal`));
  const { header, consistent } = indexOf(file);
  assert(wal && consistent, 'the -wal begins with a header, and the wal-index too');
  assert.deepEqual([header.salt1, header.salt2], [wal.salt1, wal.salt2]);
  if (header.mxFrame > 0) assert.equal(header.pageSize, wal.pageSize);
  else {
    assert.equal(header.pageSize, parseDbHeader(fs.readFileSync(file))?.pageSize);
    assert.equal(header.pageCount * header.pageSize, fs.statSync(file).size);
  }
  const [mode, uid, gid] = ownership(file);
  assert.deepEqual(ownership(`${file}-wal`), [mode, uid, gid]);
  assert.deepEqual(ownership(`${file}-shm`), [shmMode(mode), uid, gid]);
}

function ownership(file: string): [mode: number, uid: number, gid: number] {
  const { mode, uid, gid } = fs.statSync(file);
  return [mode & 0o7777, uid, gid];
}
