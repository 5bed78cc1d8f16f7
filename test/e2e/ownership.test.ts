/**
 * Owner, group and permissions of databases and of the folders above them are on the replicas what they are on the primary, at
 * every moment: also while a database is new there, after restarts, and at a replica of a replica.
 *
 * On 25311ce all of these fail: every database was root's and 0644 on a replica, every folder 0755.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { type Cluster, inSync, startCluster, type TestNode, until } from '../harness/cluster.ts';
import { NOBODY, sqlite3As, type User } from '../harness/other-user.ts';

const CONFIG = { fuse: { 'allow-other': true } };
const APP: User = { uid: 4301, gid: 4302 };
const OTHER: User = { uid: 4303, gid: 4304 };
const ROWS = 2000;

for (const passthrough of ['auto', 'off'] as const) {
  describe(`ownership, passthrough ${passthrough}`, () => {
    let cluster: Cluster;
    let primary: TestNode;
    let replica: TestNode;

    before(async () => {
      ({ cluster, primary, replica } = await startCluster(passthrough, { config: CONFIG }));
      fs.chmodSync(cluster.dir, 0o711);
    });
    after(() => cluster?.close());

    test('is that of the primary from the first moment on, and nobody else ever gets in', async () => {
      makeFolder(primary, 'app', APP, 0o750);
      const opener = openLoop(NOBODY, replica.file('app/secret.db'));
      makeDatabase(primary, 'app/secret.db', APP, 0o640);
      await inSync(primary, replica, 'app/secret.db');
      await untilSame(primary, replica, 'app/secret.db');
      assert.equal(shown(replica, 'app'), '4301:4302 750');
      assert.equal(shown(replica, 'app/secret.db'), '4301:4302 640');
      for (const suffix of ['-wal', '-shm']) {
        const { uid, gid, mode } = fs.statSync(replica.file(`app/secret.db${suffix}`));
        assert.deepEqual([uid, gid, mode & 0o007], [APP.uid, APP.gid, 0], suffix);
      }
      const { tries, opened } = await opener.end();
      assert.ok(tries >= 100, `${tries} tries`);
      assert.equal(opened, 0);
      const read = sqlite3As(APP, replica.file('app/secret.db'), 'SELECT count(*) FROM t');
      assert.equal(read.stdout, `${ROWS}`, read.stderr);
    });

    test('is sent in full by a resync, of a database that was there before the replica', async () => {
      await replica.stop();
      makeFolder(primary, 'large', APP, 0o700);
      makeDatabase(primary, 'large/new.db', APP, 0o600, 100 * ROWS);
      const opener = openLoop(NOBODY, replica.file('large/new.db'));
      await replica.start();
      await inSync(primary, replica, 'large/new.db');
      await untilSame(primary, replica, 'large/new.db');
      assert.equal((await opener.end()).opened, 0);
    });

    test('follows chmod and chown of files and folders', async () => {
      makeFolder(primary, 'moved', APP, 0o755);
      makeDatabase(primary, 'moved/a.db', APP, 0o644);
      await untilSame(primary, replica, 'moved/a.db');
      fs.chmodSync(primary.file('moved/a.db'), 0o600);
      await untilSame(primary, replica, 'moved/a.db');
      fs.chownSync(primary.file('moved/a.db'), OTHER.uid, OTHER.gid);
      await untilSame(primary, replica, 'moved/a.db');
      fs.chmodSync(primary.file('moved'), 0o710);
      fs.chownSync(primary.file('moved'), OTHER.uid, APP.gid);
      await untilSame(primary, replica, 'moved/a.db');
      fs.chmodSync(primary.mount, 0o751);
      await untilSame(primary, replica, 'moved/a.db');
      assert.equal(fs.statSync(replica.mount).mode & 0o777, 0o751);
      fs.chmodSync(primary.mount, 0o755);
      assert.equal(shown(replica, 'moved/a.db'), '4303:4304 600');
    });

    test('is that of the database which takes the name of one that was dropped', async () => {
      makeDatabase(primary, 'again.db', APP, 0o644);
      await untilSame(primary, replica, 'again.db');
      for (const suffix of ['', '-wal', '-shm']) {
        fs.rmSync(primary.file(`again.db${suffix}`), { force: true });
      }
      makeDatabase(primary, 'again.db', OTHER, 0o600);
      await inSync(primary, replica, 'again.db');
      await untilSame(primary, replica, 'again.db');
    });

    test('stays over restarts, also without the primary, and catches up with what was changed meanwhile', async () => {
      makeFolder(primary, 'kept', APP, 0o700);
      makeDatabase(primary, 'kept/a.db', APP, 0o600);
      await untilSame(primary, replica, 'kept/a.db');
      await replica.kill();
      fs.chownSync(primary.file('kept/a.db'), OTHER.uid, OTHER.gid);
      await replica.start();
      await untilSame(primary, replica, 'kept/a.db');
      await replica.stop();
      await primary.stop();
      fs.chmodSync(primary.backing('kept/a.db'), 0o640);
      const from = replica.log.length;
      replica.launch();
      await replica.logged(/^mounted on/, from);
      assert.equal(shown(replica, 'kept/a.db'), '4303:4304 600');
      await primary.start();
      await untilSame(primary, replica, 'kept/a.db');
      assert.equal(shown(replica, 'kept/a.db'), '4303:4304 640');
    });
  });
}

test('a replica of a replica has it, and a node says otherwise by its config', async () => {
  const { cluster, primary, replica } = await startCluster('auto', { config: CONFIG });
  try {
    const own = { ...CONFIG.fuse, 'replica-owner': `${OTHER.uid}:${OTHER.gid}` };
    const fuse = { ...own, 'replica-mode': '0640' };
    const settings = { candidate: false, passthrough: 'auto' as const };
    const end = await cluster.add('end', {
      ...settings,
      primaryPort: replica.replicationPort,
      config: CONFIG,
    });
    const other = await cluster.add('other', {
      ...settings,
      primaryPort: end.replicationPort,
      config: { fuse },
    });
    const last = await cluster.add('last', {
      ...settings,
      primaryPort: other.replicationPort,
      config: CONFIG,
    });
    for (const node of [end, other, last]) await node.start();
    makeFolder(primary, 'app', APP, 0o711);
    makeDatabase(primary, 'app/a.db', APP, 0o600);
    for (const node of [replica, end, last]) {
      await inSync(primary, node, 'app/a.db');
      await untilSame(primary, node, 'app/a.db');
    }
    await inSync(primary, other, 'app/a.db');
    assert.equal(shown(other, 'app'), '4303:4304 750');
    assert.equal(shown(other, 'app/a.db'), '4303:4304 640');
  } finally {
    await cluster.close();
  }
});

function makeFolder(node: TestNode, name: string, { uid, gid }: User, mode: number): void {
  fs.mkdirSync(node.file(name), { mode });
  fs.chownSync(node.file(name), uid, gid);
}

/** The application makes the file first, so that nobody else gets in. */
function makeDatabase(
  node: TestNode,
  name: string,
  { uid, gid }: User,
  mode: number,
  rows = ROWS,
): void {
  const file = node.file(name);
  fs.writeFileSync(file, '', { mode });
  fs.chownSync(file, uid, gid);
  fs.chmodSync(file, mode);
  const db = new Sqlite(file);
  try {
    db.pragma('journal_mode=WAL');
    db.exec(`CREATE TABLE t AS WITH RECURSIVE c(x) AS
      (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < ${rows}) SELECT x, hex(x) FROM c`);
  } finally {
    db.close();
  }
}

function shown(node: TestNode, name: string): string {
  const { uid, gid, mode } = fs.statSync(node.file(name));
  return `${uid}:${gid} ${(mode & 0o7777).toString(8)}`;
}

/** Waits until a database and the folders above it belong to the same. */
async function untilSame(primary: TestNode, replica: TestNode, name: string): Promise<void> {
  const names = [name];
  for (let at = path.dirname(name); at !== '.'; at = path.dirname(at)) names.push(at);
  names.push('.');
  const all = (node: TestNode) => {
    try {
      return names.map((one) => `${one} ${shown(node, one)}`).join('\n');
    } catch (error) {
      return (error as Error).message;
    }
  };
  await until(
    () => `${replica.name} has\n${all(replica)}\nand ${primary.name}\n${all(primary)}`,
    () => all(replica) === all(primary),
  );
}

/** A user who opens a file again and again, and counts how often that succeeds. */
function openLoop({ uid, gid }: User, file: string) {
  const script =
    'n=0; o=0; while read -t 0.001 line; [ $? -gt 128 ]; do for i in {1..100}; do ' +
    'n=$((n+1)); if { : < "$0"; } 2>/dev/null; then o=$((o+1)); fi; done; done; echo "$n $o"';
  const user = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups'];
  const child = spawn('setpriv', [...user, 'bash', '-c', script, file], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  // It ends with its input: also when the test fails, and with it this process.
  child.stdin.on('error', () => {});
  let output = '';
  child.stdout.on('data', (text) => (output += text));
  return {
    async end(): Promise<{ tries: number; opened: number }> {
      const ended = once(child, 'close');
      child.stdin.end();
      await ended;
      const [tries, opened] = output.trim().split(' ').map(Number);
      return { tries, opened };
    },
  };
}
