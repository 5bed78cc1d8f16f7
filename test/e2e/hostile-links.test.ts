/**
 * A user without rights, who owns one folder in the mount, puts links and what is no file at all where the daemon, which is
 * root, is about to open a file. Nothing outside of the mount is read or written, the node goes on, and only the database
 * concerned is degraded, and says why.
 *
 * What these did on 25311ce is said at each of them.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it, test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { sqlite3 } from '../harness/app.ts';
import { inSync, type TestNode, until } from '../harness/cluster.ts';
import {
  ask,
  asUser,
  FOLDER,
  leaveOther,
  OTHERS,
  type Other,
  putOther,
  stateOf,
  USER,
  untilState,
  withUser,
} from '../harness/unprivileged.ts';

const TABLE = 'CREATE TABLE t(x); INSERT INTO t VALUES(1)';
const ENDS = ['-wal', '-shm', '-journal'] as const;
/** One database for each thing that can be in the way of each file. */
const CASES = OTHERS.flatMap((kind) =>
  ENDS.map((end) => ({ kind, end, name: `${kind.slice(0, 4).trim()}${end}.db` })),
);

/** A database of root's, outside of the mount, with all that SQLite may leave beside it. */
function secretDatabase(outside: string, name: string): () => void {
  const file = path.join(outside, name);
  sqlite3(file, "CREATE TABLE secret(x); INSERT INTO secret VALUES('of root')");
  for (const end of ['-wal', '-shm']) fs.writeFileSync(file + end, '');
  const before = contentOf(outside);
  return () => assert.deepEqual(contentOf(outside), before, 'nothing outside has changed');
}

/** Names, owners, modes and bytes of all files. */
function contentOf(dir: string): string[] {
  return fs.readdirSync(dir).map((name) => {
    const file = path.join(dir, name);
    const { uid, mode } = fs.lstatSync(file);
    return `${name} ${uid} ${mode.toString(8)} ${fs.readFileSync(file, 'latin1')}`;
  });
}

function imageOf(cluster: { dir: string }): Buffer {
  const file = path.join(cluster.dir, 'image.db');
  new Sqlite(file).exec(TABLE).close();
  return fs.readFileSync(file);
}

/** A -wal with transactions of some other database. */
function walOf({ dir }: { dir: string }): Buffer {
  const file = path.join(dir, 'other.db');
  const sqlite = new Sqlite(file);
  sqlite.exec(`PRAGMA page_size=8192; PRAGMA journal_mode=wal; ${TABLE}`);
  const wal = fs.readFileSync(`${file}-wal`);
  sqlite.close();
  fs.rmSync(file);
  return wal;
}

/** Without waiting for it to be in sync. */
async function startAlone(node: TestNode): Promise<void> {
  const from = node.log.length;
  node.launch();
  await node.logged(/^mounted on/, from);
}

async function restartedWith(node: TestNode, change: () => void | Promise<void>): Promise<void> {
  await node.stop();
  await change();
  await startAlone(node);
}

describe('an import', () => {
  /** On 25311ce: outside/new.db was made, by the link itself and through the linked folder. */
  it('follows no link, neither the last component nor one in the middle', () =>
    withUser(0, async ({ cluster, primary, outside }) => {
      const image = imageOf(cluster);
      asUser(primary, `ln -s '${outside}/new.db' x.db; ln -s '${outside}' sub`);
      asUser(primary, `mkdir -p real; ln -s ../sub real/up`);
      for (const name of ['x.db', 'sub/new.db', 'real/up/new.db']) {
        const { status, text } = await ask(
          primary,
          'POST',
          `/import?name=${FOLDER}/${name}`,
          image,
        );
        assert(status >= 400, `${name}: ${status} ${text}`);
        assert.match(text, /is a symbolic link, not a file|there is no directory/, name);
      }
      assert.deepEqual(fs.readdirSync(outside), []);
      const { status, text } = await ask(primary, 'POST', `/import?name=${FOLDER}/y.db`, image);
      assert.equal(status, 200, text);
      assert.equal(asUser(primary, 'sqlite3 y.db "SELECT x FROM t"'), '1');
    }));

  /** On 25311ce: root's database outside was what had been sent, after the first imports. */
  it('follows none that its owner puts there while it runs', () =>
    withUser(0, async ({ cluster, primary, outside }) => {
      const image = imageOf(cluster);
      const isSame = secretDatabase(outside, 'x.db');
      asUser(
        primary,
        `sqlite3 x.db 'CREATE TABLE own(x)'; cp x.db file; ln -s '${outside}/x.db' link`,
      );
      asUser(
        primary,
        `(while [ -L link ]; do cp -P link n && mv -T n x.db; cp file n && mv -T n x.db; done) >/dev/null 2>&1 &`,
      );
      for (let i = 0; i < 5; i++) await ask(primary, 'POST', `/import?name=${FOLDER}/x.db`, image);
      asUser(primary, 'rm link');
      isSame();
    }));

  /** On 25311ce: there was no answer, until the client had gone. */
  it('does not wait for the other end of a FIFO', () =>
    withUser(0, async ({ cluster, primary }) => {
      asUser(primary, `sqlite3 z.db '${TABLE}'; mkfifo z.db-journal`);
      const image = imageOf(cluster);
      const { status, text } = await ask(primary, 'POST', `/import?name=${FOLDER}/z.db`, image);
      assert.equal(status, 409, text);
      assert.match(text, /z\.db-journal is a FIFO, not a file/);
    }));
});

/** On 25311ce: the replica made outside/x.db and outside/w.db, as root, and was `ok`. */
test('a replica writes nothing through a linked folder', () =>
  withUser(1, async ({ primary, replica, outside }) => {
    asUser(replica, `ln -s '${outside}' sub`);
    asUser(primary, `mkdir sub; sqlite3 sub/x.db '${TABLE}'`);
    asUser(
      primary,
      `sqlite3 sub/w.db 'PRAGMA journal_mode=wal; ${TABLE}'; sqlite3 y.db '${TABLE}'`,
    );
    await inSync(primary, replica, `${FOLDER}/y.db`);
    for (const name of ['sub/x.db', 'sub/w.db']) {
      await untilState(
        replica,
        `${FOLDER}/${name}`,
        /degraded: .*app\/sub is a symbolic link, not a directory/,
      );
    }
    assert.deepEqual(fs.readdirSync(outside), []);
    asUser(replica, 'rm sub');
    await inSync(primary, replica, `${FOLDER}/sub/x.db`);
    await inSync(primary, replica, `${FOLDER}/sub/w.db`);
    await untilState(replica, `${FOLDER}/sub/x.db`, /^ok/);
  }));

/** On 25311ce: the start removed the -wal and the -shm of root's database, captured it, and the replica had it. */
test('a primary captures no database of others, while it runs or when it starts', () =>
  withUser(1, async ({ primary, replica, outside }) => {
    const isSame = secretDatabase(outside, 'x.db');
    asUser(primary, `mkdir sub; sqlite3 sub/x.db '${TABLE}'; sqlite3 y.db '${TABLE}'`);
    await inSync(primary, replica, `${FOLDER}/sub/x.db`);
    asUser(primary, `mv sub old; ln -s '${outside}' sub`);
    asUser(primary, `sqlite3 y.db 'INSERT INTO t VALUES(2)'`);
    await inSync(primary, replica, `${FOLDER}/y.db`);
    await primary.kill();
    await primary.start();
    asUser(primary, `sqlite3 y.db 'INSERT INTO t VALUES(3)'`);
    for (const name of ['y.db', 'old/x.db']) await inSync(primary, replica, `${FOLDER}/${name}`);
    isSame();
    await until('it is gone from the replica too', () => {
      return !fs.existsSync(replica.backing(`${FOLDER}/sub/x.db`));
    });
    assert.equal(await stateOf(primary, `${FOLDER}/sub/x.db`), '');
  }));

/** On 25311ce: the victim belonged to the user afterwards. */
test('the -wal that a halt lock needs is made, and no link followed', () =>
  withUser(1, async ({ primary, replica, outside }) => {
    const victim = path.join(outside, 'victim');
    fs.writeFileSync(victim, 'of root', { mode: 0o600 });
    const before = contentOf(outside);
    const name = `${FOLDER}/h.db`;
    asUser(primary, `sqlite3 h.db 'PRAGMA journal_mode=wal; ${TABLE}'`);
    await inSync(primary, replica, name);
    const lock = () => ask(replica, 'POST', `/halt?name=${name}&id=1`);
    asUser(primary, `ln -s '${victim}' h.db-wal`);
    assert.notEqual((await lock()).status, 200);
    assert.deepEqual(contentOf(outside), before);
    asUser(primary, 'rm h.db-wal');
    let last = { status: 0, text: '' };
    await until(
      () => `the lock: ${last.status} ${last.text}`,
      async () => {
        last = await lock();
        return last.status === 200;
      },
    );
    assert.equal(fs.statSync(primary.file(`${name}-wal`)).uid, USER);
  }));

/** What the status is to say of a database. */
function inTheWay(kind: Other, end: string): RegExp {
  return new RegExp(`^degraded: .*${end} is a ${kind}, not a file`);
}

async function commitAndSee(primary: TestNode, replica: TestNode, names: string[]): Promise<void> {
  for (const name of names) {
    asUser(primary, `sqlite3 ${name} 'INSERT INTO t VALUES(2)'`);
    await inSync(primary, replica, `${FOLDER}/${name}`);
  }
}

/**
 * On 25311ce, with one of them alone: a FIFO as -wal or -journal hung the engine, which answered nothing any more, and each
 * FIFO the next start, in the search for old handles, before the mount. A link as -wal or -journal, a socket as -wal and a
 * directory as -journal ended the daemon with the next write, as an internal error, and a link or a socket as -wal kept
 * `status` from telling of any database. All nine made the next start end with 74.
 */
test('what is no file beside a database makes that degraded, on a running primary and at its start', () =>
  withUser(1, async ({ primary, replica }) => {
    for (const [i, { name }] of CASES.entries()) {
      asUser(
        primary,
        `sqlite3 ${name} 'PRAGMA journal_mode=${i % 2 ? 'wal' : 'delete'}; ${TABLE}'`,
      );
    }
    asUser(primary, `sqlite3 y.db '${TABLE}'`);
    for (const { name } of CASES) await inSync(primary, replica, `${FOLDER}/${name}`);
    for (const { kind, end, name } of CASES) await putOther(primary, name + end, kind);
    const allSay = async () => {
      for (const { kind, end, name } of CASES) {
        await untilState(primary, `${FOLDER}/${name}`, inTheWay(kind, end));
      }
    };
    // As an application without a journal would.
    for (const { name } of CASES) {
      asUser(primary, `dd if=${name} of=${name} bs=16 count=1 conv=notrunc status=none`);
    }
    await allSay();
    await commitAndSee(primary, replica, ['y.db']);

    for (const end of ['kill', 'stop'] as const) {
      await primary[end]();
      await primary.start();
      await allSay();
      await commitAndSee(primary, replica, ['y.db']);
    }
    for (const { name } of CASES) assert.match(await stateOf(replica, `${FOLDER}/${name}`), /^ok/);

    for (const { end, name } of CASES) asUser(primary, `rm -d ${name}${end}`);
    for (const { name } of CASES) await untilState(primary, `${FOLDER}/${name}`, /^ok/);
    await commitAndSee(
      primary,
      replica,
      CASES.map(({ name }) => name),
    );
  }));

/**
 * On 25311ce: the replica did not say so. With a link or a socket as -wal nothing was told of any database any more, with a
 * FIFO its engine failed with ESPIPE, and what was a journal's name only was passed over.
 */
test('what is no file makes a database of a replica degraded, before that comes and at a start', () =>
  withUser(1, async ({ primary, replica }) => {
    await restartedWith(replica, async () => {
      for (const { kind, end, name } of CASES) await leaveOther(replica, name + end, kind);
    });
    for (const [i, { name }] of CASES.entries()) {
      asUser(
        primary,
        `sqlite3 ${name} 'PRAGMA journal_mode=${i % 2 ? 'wal' : 'delete'}; ${TABLE}'`,
      );
    }
    asUser(primary, `sqlite3 y.db '${TABLE}'`);
    const allSay = async () => {
      for (const { kind, end, name } of CASES) {
        await untilState(replica, `${FOLDER}/${name}`, inTheWay(kind, end));
      }
    };
    await allSay();
    await commitAndSee(primary, replica, ['y.db']);

    await replica.kill();
    await startAlone(replica);
    await allSay();
    await commitAndSee(primary, replica, ['y.db']);

    for (const { end, name } of CASES) asUser(replica, `rm -d ${name}${end}`);
    for (const { name } of CASES) {
      await inSync(primary, replica, `${FOLDER}/${name}`);
      await untilState(replica, `${FOLDER}/${name}`, /^ok/);
    }
    await commitAndSee(
      primary,
      replica,
      CASES.map(({ name }) => name),
    );
  }));

/**
 * Where the -wal of another database was left there (by an application of a former primary; or renamed on the replica, which
 * is refused now). As soon as readers were given a -wal before the mount, this ended the daemon: "was not followed".
 */
test('a -wal that is on a replica before its database is no part of that', () =>
  withUser(1, async ({ cluster, primary, replica }) => {
    const modes = { 'wal.db': 'wal', 'delete.db': 'delete', 'whole.db': 'wal' };
    const make = (name: keyof typeof modes) =>
      asUser(primary, `sqlite3 ${name} 'PRAGMA journal_mode=${modes[name]}; ${TABLE}'`);
    const names = Object.keys(modes) as (keyof typeof modes)[];
    await restartedWith(replica, () => {
      make('whole.db');
      for (const name of names) {
        fs.writeFileSync(replica.backing(`${FOLDER}/${name}-wal`), walOf(cluster));
      }
    });
    for (const name of names) {
      if (name !== 'whole.db') make(name);
      await inSync(primary, replica, `${FOLDER}/${name}`);
      assert.equal(asUser(replica, `sqlite3 ${name} 'SELECT x FROM t'`), '1', name);
      await commitAndSee(primary, replica, [name]);
      assert.equal(asUser(replica, `sqlite3 ${name} 'SELECT count(*) FROM t'`), '2', name);
      await untilState(replica, `${FOLDER}/${name}`, /^ok/);
      assert.throws(() => asUser(replica, `touch file; mv file later-wal`), /Read-only/);
    }
  }));
