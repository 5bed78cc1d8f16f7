/** Databases into the mount and back, under the path that their applications know: nothing is lost at any moment. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { ADOPT_STEPS, type AdoptStep, adoptDatabase } from '../../src/cli/adopt/adopt.ts';
import { RELEASE_STEPS, releaseDatabase } from '../../src/cli/adopt/release.ts';
import { dieAt } from '../harness/adopt-run.ts';
import { sqlite3 } from '../harness/app.ts';
import { runCli } from '../harness/cli.ts';
import { type Cluster, inSync, startCluster, type TestNode } from '../harness/cluster.ts';

const EXIT_USAGE = 64;
const EXIT_DATA = 65;
const EXIT_STATE = 75;
const STRANGER = 4711;

describe('adopt and release', () => {
  let cluster: Cluster;
  let primary: TestNode;
  let replica: TestNode;
  let folder: string;

  before(async () => {
    ({ cluster, primary, replica } = await startCluster('auto', {
      config: { fuse: { 'allow-other': true } },
    }));
    fs.chmodSync(cluster.dir, 0o755);
    folder = path.join(cluster.dir, 'srv');
    fs.mkdirSync(folder);
  });
  after(() => cluster?.close());

  const url = (node: TestNode) => `http://127.0.0.1:${node.httpPort}`;
  const run = (command: string, file: string, ...more: string[]) =>
    runCli([command, file, '--url', url(primary), ...more]);
  /** A database of one row. */
  const create = (name: string, mode = 'delete'): string => {
    const file = path.join(folder, name);
    sqlite3(file, `PRAGMA journal_mode=${mode}; CREATE TABLE t(x); INSERT INTO t VALUES('old')`);
    return file;
  };
  const rows = (file: string) => sqlite3(file, 'SELECT x FROM t ORDER BY rowid').split('\n');
  /** What is beside a database that begins with a name. */
  const beside = (name: string) =>
    fs.readdirSync(folder).filter((each) => each.startsWith(name) && each !== name);
  const isLink = (file: string) => fs.lstatSync(file).isSymbolicLink();
  /** A process with the file open; ended by the test. */
  const holdOpen = (file: string): number =>
    Number(
      execFileSync('sh', ['-c', 'exec 3<"$0"; sleep 1000 >/dev/null 2>&1 & echo $!', file], {
        encoding: 'utf8',
      }),
    );

  for (const mode of ['delete', 'wal']) {
    test(`there, to the replica, and back after more writes, in ${mode} mode`, async () => {
      const name = `there-${mode}.db`;
      const file = create(name, mode);
      fs.chmodSync(file, 0o640);
      const adopted = await run('adopt', file);
      assert.equal(adopted.status, 0, adopted.stderr);
      assert.match(
        adopted.stdout,
        new RegExp(`now in the mount as ${primary.file(name)}, at 0{15}1/`),
      );
      assert.equal(fs.readlinkSync(file), primary.file(name));
      assert.deepEqual(beside(name), [`${name}.before-litefs-lite`]);
      assert.equal(fs.statSync(file).mode & 0o777, 0o640);
      assert.equal(sqlite3(file, 'PRAGMA journal_mode'), mode);

      sqlite3(file, "INSERT INTO t VALUES('new')");
      await inSync(primary, replica, name);
      assert.deepEqual(rows(replica.file(name)), ['old', 'new']);
      assert.deepEqual(rows(`${file}.before-litefs-lite`), ['old']);

      const released = await run('release', file);
      assert.equal(released.status, 0, released.stderr);
      assert.equal(isLink(file), false);
      assert.equal(fs.statSync(file).mode & 0o777, 0o640);
      assert.deepEqual(rows(file), ['old', 'new']);
      assert.deepEqual(beside(name), []);
      assert.equal(fs.existsSync(primary.file(name)), true);
    });
  }

  test('--as, --delete: no original is kept, and release takes it away from all nodes', async () => {
    const file = create('gone.db');
    const adopted = await run('adopt', file, '--as', 'blog/posts.db', '--delete');
    assert.equal(adopted.status, 0, adopted.stderr);
    assert.deepEqual(beside('gone.db'), []);
    assert.equal(fs.readlinkSync(file), primary.file('blog/posts.db'));
    await inSync(primary, replica, 'blog/posts.db');
    const released = await run('release', file, '--delete');
    assert.equal(released.status, 0, released.stderr);
    assert.deepEqual(rows(file), ['old']);
    assert.equal(fs.existsSync(primary.file('blog/posts.db')), false);
    await inSync(primary, replica, 'blog/posts.db');
    assert.equal(fs.existsSync(replica.file('blog/posts.db')), false);
  });

  test('what a crash of the application left in a -wal comes along', async () => {
    const from = create('crashed-from.db', 'wal');
    const db = new Sqlite(from);
    db.exec("INSERT INTO t VALUES('in the wal')");
    const file = path.join(folder, 'crashed.db');
    for (const suffix of ['', '-wal']) fs.copyFileSync(from + suffix, file + suffix);
    db.close();
    assert(fs.statSync(`${file}-wal`).size > 0);
    const { status, stderr } = await run('adopt', file);
    assert.equal(status, 0, stderr);
    assert.deepEqual(rows(file), ['old', 'in the wal']);
    assert.deepEqual(rows(`${file}.before-litefs-lite`), ['old', 'in the wal']);
    assert.deepEqual(beside('crashed.db'), ['crashed.db.before-litefs-lite']);
    await inSync(primary, replica, 'crashed.db');
    assert.deepEqual(rows(replica.file('crashed.db')), ['old', 'in the wal']);
  });

  test('a transaction that a crash has left half done is rolled back first', async () => {
    const from = create('half-from.db');
    const db = new Sqlite(from);
    db.pragma('cache_size = 1');
    db.exec('CREATE TABLE big(b); BEGIN; INSERT INTO t SELECT value FROM json_each(\'["half"]\')');
    db.exec('INSERT INTO big SELECT zeroblob(3000) FROM json_each(json_array(1,2,3,4,5,6,7,8,9))');
    const file = path.join(folder, 'half.db');
    for (const suffix of ['', '-journal']) fs.copyFileSync(from + suffix, file + suffix);
    db.exec('ROLLBACK');
    db.close();
    assert(fs.statSync(`${file}-journal`).size > 512, 'some pages had been written');
    const { status, stderr } = await run('adopt', file);
    assert.equal(status, 0, stderr);
    assert.deepEqual(rows(file), ['old']);
    // The original is kept as it was found.
    const kept = 'half.db.before-litefs-lite';
    assert.deepEqual(beside('half.db'), [kept, `${kept}-journal`]);
    assert.deepEqual(rows(path.join(folder, kept)), ['old']);
    assert.deepEqual(beside('half.db'), [kept]);
  });

  test('a -wal that an adoption has left beside the link when it died is no part of what release makes', async () => {
    const from = create('stale-from.db', 'wal');
    const db = new Sqlite(from);
    db.exec("INSERT INTO t VALUES('in the wal')");
    const file = path.join(folder, 'stale.db');
    for (const suffix of ['', '-wal']) fs.copyFileSync(from + suffix, file + suffix);
    db.close();
    dieAt('adopt', 'exchanged', file, url(primary));
    assert(fs.existsSync(`${file}-wal`));
    sqlite3(file, "UPDATE t SET x = x || '!'; INSERT INTO t VALUES('new')");
    const { status, stderr } = await run('release', file);
    assert.equal(status, 0, stderr);
    assert.deepEqual(rows(file), ['old!', 'in the wal!', 'new']);
    assert.deepEqual(beside('stale.db'), []);
  });

  test('of another user: it stays that user’s, who can write there', async () => {
    const home = path.join(folder, 'home');
    fs.mkdirSync(home);
    const file = create('home/app.db', 'wal');
    for (const each of [home, file]) fs.chownSync(each, STRANGER, STRANGER);
    const refused = await run('adopt', file, '--as', 'app-of-another.db');
    assert.equal(refused.status, EXIT_STATE);
    assert.match(refused.stderr, /can make no journal in .*\n {2}.*--as home\/app\.db/);
    const { status, stderr } = await run('adopt', file);
    assert.equal(status, 0, stderr);
    assert.equal(fs.readlinkSync(file), primary.file('home/app.db'));
    const write = spawnSync('sqlite3', [file, "INSERT INTO t VALUES('theirs')"], {
      uid: STRANGER,
      gid: STRANGER,
      encoding: 'utf8',
    });
    assert.equal(write.stderr, '');
    assert.deepEqual(rows(file), ['old', 'theirs']);
    assert.equal((await run('release', file)).status, 0);
    assert.equal(fs.statSync(file).uid, STRANGER);
    assert.deepEqual(rows(file), ['old', 'theirs']);
  });

  test('refuses what cannot be, says why, and changes nothing', async () => {
    const file = create('refused.db');
    sqlite3(primary.file('taken.db'), 'CREATE TABLE t(x)');
    const text = path.join(folder, 'text.db');
    fs.writeFileSync(text, 'no database');
    const empty = path.join(folder, 'empty.db');
    fs.writeFileSync(empty, '');
    const damaged = path.join(folder, 'damaged.db');
    const bytes = fs.readFileSync(file);
    fs.writeFileSync(damaged, bytes.fill(0xff, 4096, 4200));
    const linked = path.join(folder, 'linked.db');
    fs.symlinkSync(file, linked);
    const twice = create('twice.db');
    fs.linkSync(twice, `${twice}.2`);

    for (const [args, expected, pattern] of [
      [[file, '--as', 'taken.db'], EXIT_STATE, /taken\.db exists already\n {2}.*--as NAME/],
      [[file, '--as', '../x.db'], EXIT_USAGE, /no name for a database/],
      [[file, '--as', 'x.db-wal'], EXIT_USAGE, /no name for a database/],
      [[text], EXIT_USAGE, /is not an SQLite database/],
      [[empty], EXIT_USAGE, /is not an SQLite database\n {2}It is empty/],
      [[damaged], EXIT_DATA, /integrity_check says/],
      [[linked], EXIT_STATE, /is a link to/],
      [[twice], EXIT_USAGE, /1 more names/],
      [[path.join(folder, 'none.db')], EXIT_USAGE, /is not there/],
      [[path.join(folder, 'none/none.db')], EXIT_USAGE, /cannot find/],
      [[primary.file('taken.db')], EXIT_STATE, /is in the mount already/],
      [[file, '--url', url(replica)], EXIT_STATE, /is a replica.*\n {2}Run it on the primary/],
    ] as const) {
      const { status, stderr } = await run('adopt', args[0], ...args.slice(1));
      assert.equal(status, expected, stderr);
      assert.match(stderr, pattern);
    }
    assert.deepEqual(rows(file), ['old']);
    assert.deepEqual(beside('refused.db'), []);
    assert.equal(fs.existsSync(primary.file('refused.db')), false);
    const released = await run('release', file);
    assert.equal(released.status, EXIT_STATE);
    assert.match(released.stderr, /is not adopted/);
  });

  test('in use: names the process, both ways', async () => {
    const file = create('used.db');
    const holder = holdOpen(file);
    try {
      const { status, stderr } = await run('adopt', file);
      assert.equal(status, EXIT_STATE);
      assert.match(stderr, new RegExp(`used\\.db is in use by sleep \\(${holder}\\)\n {2}Stop it`));
      assert.equal(isLink(file), false);
    } finally {
      process.kill(holder);
    }
    assert.equal((await run('adopt', file)).status, 0);
    const user = holdOpen(file);
    try {
      const { status, stderr } = await run('release', file);
      assert.equal(status, EXIT_STATE);
      assert.match(stderr, new RegExp(`in use by sleep \\(${user}\\)`));
      assert.equal(isLink(file), true);
    } finally {
      process.kill(user);
    }
    assert.equal((await run('release', file)).status, 0);
  });

  for (const [when, opened] of [
    ['settled', 'used-late.db'],
    ['exchanged', 'used-last.db.adopting-litefs-lite'],
  ] as const) {
    test(`opened by somebody when it is ${when}: all is taken back`, async () => {
      const name = opened.split('.adopting')[0];
      const file = create(name);
      let holder = 0;
      const reached = (step: AdoptStep) => {
        if (step === when) holder = holdOpen(path.join(folder, opened));
      };
      const node = await primary.info();
      try {
        const attempt = adoptDatabase({ file, node, keep: true, reached });
        await assert.rejects(attempt, /is in use by sleep/);
      } finally {
        process.kill(holder);
      }
      assert.equal(isLink(file), false);
      assert.deepEqual(rows(file), ['old']);
      assert.deepEqual(beside(name), []);
      assert.equal(fs.existsSync(primary.file(name)), false);
    });
  }

  test('a write in the last moment is not lost by release', async () => {
    const file = create('last-write.db');
    assert.equal((await run('adopt', file)).status, 0);
    const node = await primary.info();
    const reached = (step: string) => {
      if (step === 'copied') sqlite3(file, "INSERT INTO t VALUES('late')");
    };
    const attempt = releaseDatabase({ file, node, delete: false, reached });
    await assert.rejects(attempt, /was written meanwhile/);
    assert.equal(isLink(file), true);
    assert.deepEqual(rows(file), ['old', 'late']);
    assert.deepEqual(beside('last-write.db'), ['last-write.db.before-litefs-lite']);
    assert.equal((await run('release', file)).status, 0);
    assert.deepEqual(rows(file), ['old', 'late']);
  });

  for (const step of ADOPT_STEPS) {
    test(`adopt that dies when it is ${step}: the path leads to all of it, and the next run ends it`, async () => {
      const name = `dies-${step}.db`;
      const file = create(name, step === 'copied' ? 'wal' : 'delete');
      dieAt('adopt', step, file, url(primary));
      assert.deepEqual(rows(file), ['old']);
      sqlite3(file, "INSERT INTO t VALUES('between')");
      const again = await run('adopt', file);
      if (step === 'kept')
        assert.match(again.stderr, /is a link to .*\n {2}It is in the mount already/);
      else assert.equal(again.status, 0, again.stderr);
      assert.equal(isLink(file), true);
      assert.deepEqual(rows(file), ['old', 'between']);
      assert.deepEqual(beside(name), [`${name}.before-litefs-lite`]);
      await inSync(primary, replica, name);
      assert.deepEqual(rows(replica.file(name)), ['old', 'between']);
    });
  }

  for (const step of ['announced', 'reserved', 'copied', 'settled'] as const) {
    test(`adopt for another user that dies when it is ${step}: the next run ends it`, async () => {
      const home = path.join(folder, `home-${step}`);
      fs.mkdirSync(home);
      const file = create(`home-${step}/app.db`);
      for (const each of [home, file]) fs.chownSync(each, STRANGER, STRANGER);
      dieAt('adopt', step, file, url(primary));
      const { status, stderr } = await run('adopt', file);
      assert.equal(status, 0, stderr);
      const mounted = primary.file(`home-${step}/app.db`);
      assert.equal(fs.readlinkSync(file), mounted);
      for (const each of [path.dirname(mounted), mounted, file]) {
        assert.equal(fs.lstatSync(each).uid, STRANGER, each);
      }
      assert.deepEqual(fs.readdirSync(path.dirname(mounted)), ['app.db']);
      assert.deepEqual(rows(file), ['old']);
    });
  }

  test('release on a replica: a copy of what it has', async () => {
    const file = create('of-replica.db', 'wal');
    assert.equal((await run('adopt', file)).status, 0);
    sqlite3(file, "INSERT INTO t VALUES('new')");
    await inSync(primary, replica, 'of-replica.db');
    const there = path.join(folder, 'there.db');
    fs.symlinkSync(replica.file('of-replica.db'), there);
    const { status, stderr } = await runCli(['release', there, '--url', url(replica)]);
    assert.equal(status, 0, stderr);
    assert.equal(isLink(there), false);
    assert.deepEqual(rows(there), ['old', 'new']);
  });

  for (const step of RELEASE_STEPS) {
    test(`release that dies when it is ${step}: the path leads to all of it, and the next run ends it`, async () => {
      const name = `back-${step}.db`;
      const file = create(name);
      assert.equal((await run('adopt', file)).status, 0);
      dieAt('release', step, file, url(primary));
      assert.deepEqual(rows(file), ['old']);
      const isBack = !isLink(file);
      sqlite3(file, "INSERT INTO t VALUES('between')");
      const again = await run('release', file);
      if (step === 'unlinked') assert.match(again.stderr, /is not adopted/);
      else assert.equal(again.status, 0, again.stderr);
      assert.equal(isBack, step !== 'copied');
      assert.equal(isLink(file), false);
      assert.deepEqual(rows(file), ['old', 'between']);
      assert.deepEqual(beside(name), []);
    });
  }
});
