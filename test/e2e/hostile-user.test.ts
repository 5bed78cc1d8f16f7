/**
 * A user without rights on a node's machine: what their files' modes keep from them is not to be had through the node, and
 * what they put into a folder of their own harms nobody. The rows a to g of the table of the boundary, each with a layout of
 * its own. More of each, case by case: hostile-links.test.ts (b, d, e), adopt-hostile.test.ts (c), ownership.test.ts (f),
 * mount-gap.test.ts (g), api-access.test.ts (a).
 *
 * What was seen on 25311ce:
 *
 * a  Loopback was trusted, with a secret set as well: /export sent a database of mode 0600 in a folder of mode 0700, /import
 *    replaced it on all nodes, and /restore, /halt, /snapshot and /increment did what was asked.
 * b  An import wrote as root where a link led, and through linked folders.
 * c  adopt and release gave root's files to the user and wrote into them, when names became links meanwhile.
 * d  The engine of a replica, and each start, went through a link in the middle of a path: files were written outside of the
 *    tree as root, and databases of others were captured and sent to replicas.
 * e  A FIFO as -wal or -journal hung the engine, before the mount too; a link, socket or directory ended the daemon.
 * f  On a replica every database was root's and 0644, every folder 0755.
 * g  What restarts by itself made an empty database in the bare mount point while the node was away.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it, test } from 'node:test';
import type { HealthReport } from '../../src/http/info.ts';
import { sqlite3 } from '../harness/app.ts';
import { runCli } from '../harness/cli.ts';
import { inSync, type TestNode, until } from '../harness/cluster.ts';
import {
  ask,
  asUser,
  FOLDER,
  putOther,
  stateOf,
  USER,
  untilState,
  withUser,
} from '../harness/unprivileged.ts';

/** Another user, whose database it is. */
const OWNER = 54399;
const DATABASE = 'vault/passwords.db';
const TAKEN = ['GET /export', 'HEAD /export', 'GET /verify', 'POST /snapshot', 'POST /increment'];
const CHANGED = ['POST /import', 'POST /restore', 'POST /halt', 'DELETE /halt'];
/** Of a proxy in front, and of an application that can be made to ask. */
const HEADERS = [
  [],
  ['X-Forwarded-For: 127.0.0.1', 'X-Real-IP: 127.0.0.1'],
  ['Forwarded: for=127.0.0.1'],
  ['Host: localhost'],
  ['Authorization: Bearer '],
  ['Authorization: Basic cm9vdDo='],
];

interface Answer {
  readonly status: number;
  /** Of curl; 7: it could not connect. */
  readonly exit: number | null;
  readonly body: string;
}

/** curl, run by that user. `where`: options that say how the node is reached. */
function curl(method: string, words: readonly string[]): Answer {
  const user = [`--reuid=${USER}`, `--regid=${USER}`, '--clear-groups', '--no-new-privs'];
  const how = method === 'HEAD' ? ['--head'] : ['-X', method];
  const asked = ['curl', '-sS', '-m', '20', '-w', '\n%{http_code}', ...how, ...words];
  const run = spawnSync('setpriv', [...user, ...asked], { encoding: 'utf8', cwd: '/' });
  const lines = run.stdout.split('\n');
  return { status: Number(lines.at(-1)), exit: run.status, body: lines.slice(0, -1).join('\n') };
}

function makeVault(node: TestNode): void {
  const folder = path.dirname(node.file(DATABASE));
  fs.mkdirSync(folder, { mode: 0o700 });
  sqlite3(node.file(DATABASE), "CREATE TABLE t(x); INSERT INTO t VALUES('hunter2')");
  fs.chmodSync(node.file(DATABASE), 0o600);
  fs.chownSync(node.file(DATABASE), OWNER, OWNER);
  fs.chownSync(folder, OWNER, OWNER);
}

describe('the API, asked by a user of the machine', () => {
  it("gives nothing of another user's database, and does nothing to it", () =>
    withUser(1, async ({ cluster, primary, replica }) => {
      makeVault(primary);
      await inSync(primary, replica, DATABASE);
      const image = path.join(cluster.dir, 'evil.db');
      sqlite3(image, "CREATE TABLE t(x); INSERT INTO t VALUES('evil')");
      fs.chmodSync(image, 0o644);
      const before = await Promise.all([primary, replica].map((node) => node.position(DATABASE)));
      const query = `?name=${encodeURIComponent(DATABASE)}&id=7`;
      for (const node of [primary, replica]) {
        for (const route of [...TAKEN, ...CHANGED]) {
          const [method, where] = route.split(' ');
          const body = method === 'POST' ? ['--data-binary', `@${image}`] : [];
          for (const headers of HEADERS) {
            const shown = headers.flatMap((header) => ['-H', header]);
            const url = `http://127.0.0.1:${node.httpPort}${where}${query}`;
            const { status, body: text } = curl(method, [...body, ...shown, url]);
            assert.equal(status, 401, `${route} of the ${node.name}, ${headers.join()}: ${text}`);
            assert(!text.includes('hunter2'));
          }
          const through = ['--unix-socket', node.socket, `http://localhost${where}${query}`];
          const answer = curl(method, [...body, ...through]);
          assert.deepEqual([answer.status, answer.exit], [0, 7], `${route} at the socket`);
        }
      }
      assert.deepEqual(
        await Promise.all([primary, replica].map((node) => node.position(DATABASE))),
        before,
      );
      for (const node of [primary, replica]) {
        assert.equal(sqlite3(node.file(DATABASE), 'SELECT x FROM t'), 'hunter2');
      }
      const [report] = (await primary.info()).databases;
      assert.equal(report.haltHolder, null);
    }));

  it('is not taken away from root: neither its socket, nor the place of it', () =>
    withUser(0, async ({ primary }) => {
      const user = [`--reuid=${USER}`, `--regid=${USER}`, '--clear-groups'];
      for (const script of [
        `rm -f ${primary.socket}`,
        `mv ${primary.socket} ${primary.socket}.old`,
        `chmod 666 ${primary.socket}`,
      ]) {
        assert.notEqual(spawnSync('setpriv', [...user, 'sh', '-c', script]).status, 0, script);
      }
      assert.equal((await primary.api('/verify?name=nope.db')).status, 404);
    }));
});

const TABLE = 'CREATE TABLE t(x); INSERT INTO t VALUES(1)';

/** A database of root's outside of the mount; what is returned asserts that nothing of it, or beside it, has changed. */
function makeTreasure(outside: string): () => void {
  const file = path.join(outside, 'treasure.db');
  sqlite3(file, "PRAGMA journal_mode=wal; CREATE TABLE t(x); INSERT INTO t VALUES('treasure')");
  fs.chmodSync(file, 0o600);
  const seen = () =>
    fs.readdirSync(outside).map((name) => {
      const { uid, gid, mode, ino, ctimeNs } = fs.lstatSync(path.join(outside, name), {
        bigint: true,
      });
      return [
        name,
        uid,
        gid,
        mode,
        ino,
        ctimeNs,
        fs.readFileSync(path.join(outside, name), 'latin1'),
      ];
    });
  const before = seen();
  return () => assert.deepEqual(seen(), before);
}

test('b: root writes nowhere for an import, through no link of any kind, and reads nothing for an export', () =>
  withUser(0, async ({ cluster, primary, outside }) => {
    const isUntouched = makeTreasure(outside);
    const file = path.join(cluster.dir, 'image.db');
    sqlite3(file, TABLE);
    const image = fs.readFileSync(file);
    const far = path.relative(primary.file(`${FOLDER}/größe`), `${outside}/treasure.db`);
    asUser(
      primary,
      `mkdir größe; ln -s '${far}' größe/relative.db; ln -s relative.db größe/chain.db`,
    );
    asUser(primary, `ln -s /proc/self/root größe/root; ln -s /proc/${process.pid}/cwd größe/magic`);
    asUser(primary, `ln -s '${outside}/none.db' größe/none.db; ln -s größe/root${outside} way`);
    for (const name of [
      'größe/relative.db',
      'größe/chain.db',
      `größe/root${outside}/treasure.db`,
      'größe/magic/package.json',
      'größe/none.db',
      'way/treasure.db',
    ]) {
      const where = `name=${encodeURIComponent(`${FOLDER}/${name}`)}`;
      const sent = await ask(primary, 'POST', `/import?${where}`, image);
      assert(sent.status >= 400, `${name}: ${sent.status} ${sent.text}`);
      const got = await ask(primary, 'GET', `/export?${where}`);
      assert.equal(got.status, 404, `${name}: ${got.text.slice(0, 100)}`);
    }
    isUntouched();
    assert.equal((await ask(primary, 'POST', `/import?name=${FOLDER}/own.db`, image)).status, 200);
  }));

test('c: root adopts and releases nothing of its own for a user who owns the folder', () =>
  withUser(0, async ({ cluster, primary, outside }) => {
    const isUntouched = makeTreasure(outside);
    const home = path.join(cluster.dir, 'users', 'eve');
    fs.mkdirSync(home, { recursive: true });
    fs.chownSync(home, USER, USER);
    const eve = (script: string) => {
      const user = [`--reuid=${USER}`, `--regid=${USER}`, '--clear-groups'];
      const run = spawnSync('setpriv', [...user, 'sh', '-euc', script], {
        cwd: home,
        encoding: 'utf8',
      });
      assert.equal(run.status, 0, `${script}: ${run.stderr}`);
    };
    const cli = (...words: string[]) => runCli([...words, '--config', primary.configFile]);
    eve(`ln -s '${outside}/treasure.db' name.db; ln -s '${outside}' folder`);
    eve(`sqlite3 own.db '${TABLE}'; ln -s '${outside}/treasure.db-wal' own.db-wal`);
    for (const [i, name] of ['name.db', 'folder/treasure.db', 'own.db'].entries()) {
      const { status, stderr } = await cli(
        'adopt',
        path.join(home, name),
        '--as',
        `${FOLDER}/stolen${i}.db`,
      );
      assert.notEqual(status, 0, name);
      assert.match(stderr, /link|is no file/, name);
      isUntouched();
    }
    eve('rm own.db-wal');
    const adopted = await cli('adopt', path.join(home, 'own.db'), '--as', `${FOLDER}/own.db`);
    assert.equal(adopted.status, 0, adopted.stderr);
    // The link of adopt's leads to root's file now, and where the copy is made is taken.
    eve(`mv own.db link; ln -s '${outside}/treasure.db' own.db`);
    assert.notEqual((await cli('release', path.join(home, 'own.db'), '--delete')).status, 0);
    isUntouched();
    assert.equal(sqlite3(primary.file(`${FOLDER}/own.db`), 'SELECT x FROM t'), '1');
    eve('mv link own.db');
    const released = await cli('release', path.join(home, 'own.db'));
    assert.equal(released.status, 0, released.stderr);
    assert.equal(fs.lstatSync(path.join(home, 'own.db')).uid, USER);
    isUntouched();
  }));

test('d: neither a replica nor a start goes where a folder in the middle of a path leads', () =>
  withUser(1, async ({ primary, replica, outside }) => {
    const isUntouched = makeTreasure(outside);
    asUser(replica, `mkdir -p deep/er; ln -s '${outside}' deep/er/est`);
    asUser(primary, `mkdir -p deep/er/est; cd deep/er/est; sqlite3 treasure.db '${TABLE}'`);
    asUser(primary, `sqlite3 other.db '${TABLE}'`);
    await inSync(primary, replica, `${FOLDER}/other.db`);
    const name = `${FOLDER}/deep/er/est/treasure.db`;
    await untilState(replica, name, /degraded: .*est is a symbolic link, not a directory/);
    isUntouched();
    asUser(primary, `mkdir old; mv deep/er/est old; ln -s '${outside}' deep/er/est`);
    asUser(primary, `ln -s ../../../${path.relative(primary.mount, outside)} deep/more`);
    for (const end of ['kill', 'stop'] as const) {
      await primary[end]();
      await primary.start();
      asUser(primary, "sqlite3 other.db 'INSERT INTO t VALUES(2)'");
      await inSync(primary, replica, `${FOLDER}/other.db`);
      for (const gone of [name, `${FOLDER}/deep/more/treasure.db`]) {
        assert.equal(await stateOf(primary, gone), '');
        assert.notEqual((await ask(primary, 'GET', `/export?name=${gone}`)).status, 200);
      }
      isUntouched();
    }
  }));

test('e: no file of theirs stops the node, nor keeps others from committing', () =>
  withUser(1, async ({ primary, replica }) => {
    const cases = [
      ['fifo ☠.db', '-wal', 'FIFO'],
      ['fifo ☠.db', '-journal', 'FIFO'],
      ['sock.db', '-wal', 'socket'],
      ['dir.db', '-journal', 'directory'],
      ['link.db', '-shm', 'symbolic link'],
    ] as const;
    for (const [name] of cases) {
      asUser(
        primary,
        `sqlite3 '${name}' 'PRAGMA journal_mode=wal; CREATE TABLE IF NOT EXISTS t(x)'`,
      );
      await inSync(primary, replica, `${FOLDER}/${Buffer.from(name).toString('utf8')}`);
    }
    asUser(primary, `sqlite3 fine.db '${TABLE}'`);
    for (const [name, end, kind] of cases) await putOther(primary, name + end, kind);
    const allIsWell = async () => {
      for (const [name, end] of cases) {
        const what = end === '-wal' || name !== 'fifo ☠.db' ? end : '-(wal|journal)';
        await untilState(primary, `${FOLDER}/${name}`, new RegExp(`^degraded: .*${what} is a`));
      }
      asUser(primary, "sqlite3 fine.db 'INSERT INTO t VALUES(2)'");
      await inSync(primary, replica, `${FOLDER}/fine.db`);
      // It answers, and has nothing else to complain of.
      const { reasons } = (await (await primary.api('/healthz')).json()) as HealthReport;
      for (const reason of reasons)
        assert.match(reason, / is a (FIFO|socket|directory|symbolic link), not a file/);
    };
    for (const [name] of cases)
      asUser(primary, `dd if='${name}' of='${name}' bs=16 count=1 conv=notrunc status=none`);
    await allIsWell();
    await primary.kill();
    await primary.start();
    await allIsWell();
  }));

test('f: what its owner alone may read on the primary, no other user ever reads on a replica', () =>
  withUser(1, async ({ primary, replica }) => {
    const dir = 'tresor';
    const reader = replica.file(`${dir}/keys.db`);
    fs.mkdirSync(primary.file(dir), { mode: 0o750 });
    fs.chownSync(primary.file(dir), OWNER, OWNER);
    // From before it is there until it is.
    const script = `i=0; while [ ! -e '${replica.dir}/over' ]; do cat '${reader}' '${reader}-wal' 2>/dev/null; i=$((i+1)); done; echo >&2 $i`;
    const user = [`--reuid=${USER}`, `--regid=${USER}`, '--clear-groups'];
    const thief = spawn('setpriv', [...user, 'sh', '-c', script], { cwd: '/' });
    let stolen = '';
    let tries = '';
    thief.stdout.on('data', (chunk: Buffer) => (stolen += chunk.toString('latin1')));
    thief.stderr.on('data', (chunk: Buffer) => (tries += chunk.toString('latin1')));
    const ended = once(thief, 'close');
    try {
      const file = primary.file(`${dir}/keys.db`);
      fs.writeFileSync(file, '', { mode: 0o640 });
      fs.chownSync(file, OWNER, OWNER);
      sqlite3(file, "PRAGMA journal_mode=wal; CREATE TABLE t(x); INSERT INTO t VALUES('hunter2')");
      await inSync(primary, replica, `${dir}/keys.db`);
      for (const mode of [0o600, 0o660, 0o640]) {
        fs.chmodSync(file, mode);
        await until('the mode is the same', () => (fs.statSync(reader).mode & 0o777) === mode);
      }
      const { uid, gid } = fs.statSync(reader);
      assert.deepEqual(
        [uid, gid, fs.statSync(replica.file(dir)).mode & 0o777],
        [OWNER, OWNER, 0o750],
      );
    } finally {
      fs.writeFileSync(path.join(replica.dir, 'over'), '');
      await ended;
    }
    assert(Number(tries) > 0, `it has tried ${tries} times`);
    assert.equal(stolen, '');
  }));

test('g: what restarts by itself writes nothing below the mount while the node is away', () =>
  withUser(0, async ({ primary }) => {
    asUser(primary, `sqlite3 shop.db '${TABLE}'`);
    const user = [`--reuid=${USER}`, `--regid=${USER}`, '--clear-groups'];
    const tries = [
      'mkdir -p app',
      'sqlite3 app/shop.db "CREATE TABLE t(x)"',
      'touch shop.db',
      'echo x > .primary',
    ];
    const tryAll = () => {
      for (const script of tries) {
        const how = { cwd: primary.mount, encoding: 'utf8', timeout: 20_000 } as const;
        for (const words of [
          ['setpriv', ...user, 'sh', '-c', script],
          ['sh', '-c', script],
        ]) {
          const { status } = spawnSync(words[0], words.slice(1), how);
          assert.notEqual(status, 0, words.join(' '));
        }
      }
    };
    await primary.stop();
    tryAll();
    assert.deepEqual(fs.readdirSync(primary.mount), []);
    await primary.start();
    assert.equal(asUser(primary, 'sqlite3 shop.db "SELECT x FROM t"'), '1');
    await primary.kill();
    tryAll();
    await primary.start();
    assert.equal(asUser(primary, 'sqlite3 shop.db "SELECT x FROM t"'), '1');
  }));
