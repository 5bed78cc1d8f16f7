/**
 * Applications on a replica that do not run as root read a database in WAL mode from the first moment of the mount on, without
 * waiting, whatever has been done with it before.
 *
 * On 25311ce all of these fail. The -shm was root's, and empty from a start to the next commit: sqlite3 said "locking protocol"
 * after 10 s. For some ms after the mount there was neither -wal nor -shm: "unable to open database file". Without a connection
 * of ours the first reader made the index once more, and others were told "database is locked".
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { unmount } from '../../src/os/mounts.ts';
import { parseWalHeader, WAL_FRAME_HEADER_BYTES } from '../../src/sqlite/wal.ts';
import { parseWalIndexHeader, WAL_INDEX_HEADER_BYTES } from '../../src/sqlite/wal-index.ts';
import {
  type Cluster,
  inSync,
  type Passthrough,
  startCluster,
  type TestNode,
  until,
} from '../harness/cluster.ts';
import { turnByte } from '../harness/damage.ts';
import { sqlite } from '../harness/halt.ts';
import {
  loopAs,
  NOBODY,
  type Reading,
  readBankAs,
  scriptAs,
  sqlite3As,
  type User,
} from '../harness/other-user.ts';
import { assertReplicated, open } from '../harness/replicated.ts';
import { bankWriter, createBank } from '../harness/sqlite-client.ts';

const PAGE_BYTES = 4096;
const CONFIG = { fuse: { 'allow-other': true } };
const READ_MS_MAX = 1000;
/** With the start of a process, on a busy machine. */
const SHELL_MS_MAX = 5000;
const STARTS = 2;
const READS = 20;
/** More than a -wal may hold before it is checkpointed (4 MiB). */
const BURST = 250;
const NOTE_BYTES = 24_000;
const MEMBER: User = { uid: 4321, gid: 1234 };

for (const passthrough of ['auto', 'off'] as const) {
  describe(`users who are not root, passthrough ${passthrough}`, () => {
    let cluster: Cluster;
    let primary: TestNode;
    let replica: TestNode;

    before(async () => {
      ({ cluster, primary, replica } = await startCluster(passthrough as Passthrough, {
        config: CONFIG,
      }));
      fs.chmodSync(cluster.dir, 0o711);
    });
    after(() => cluster?.close());

    async function makeBank(name: string, mode = 'wal'): Promise<void> {
      // A test that has failed may have left a node stopped.
      for (const node of [primary, replica]) {
        if (!fs.existsSync(node.file('.lag'))) await node.start();
      }
      createBank(primary.file(name), mode);
      await inSync(primary, replica, name);
    }

    /** Starts the replica, which nobody sends anything. */
    async function startAlone(node = replica): Promise<void> {
      const from = node.log.length;
      node.launch();
      await node.logged(/^mounted on/, from);
    }

    test('read after a restart without a commit, and without the primary', async () => {
      const name = 'restarted.db';
      await makeBank(name);
      await replica.stop();
      await primary.stop();
      await startAlone();
      assertUsable(replica, name, 0);
      await primary.start();
      await replica.kill();
      await startAlone();
      assertUsable(replica, name, 0);
      await inSync(primary, replica, name);
    });

    test('read from the first moment of the mount on', async () => {
      const name = 'early.db';
      await makeBank(name);
      const file = replica.file(name);
      for (let start = 0; start < STARTS; start++) {
        if (start % 2 === 0) await replica.stop();
        else await replica.kill();
        // The kernel remembers names of a dead one.
        unmount(replica.mount, { detach: true });
        const shell = shellLoop(path.join(cluster.dir, `stop-${start}`), file);
        const loops = [loopAs(NOBODY, file), loopAs(NOBODY, file)];
        await Promise.all(loops.map(({ ready }) => ready));
        await startAlone();
        assertUsable(replica, name, 0);
        for (const { reads, absent } of await Promise.all(loops.map((loop) => loop.end()))) {
          assert.ok(reads > 0 && absent > 0, `${reads} reads, ${absent} times it was not there`);
        }
        await shell.end();
      }
      await inSync(primary, replica, name);
    });

    test('read side by side when the node has let go of its files, in the last moments of the mount', async () => {
      const name = 'late.db';
      await makeBank(name);
      const file = replica.file(name);
      const loops = Array.from({ length: 4 }, () => loopAs(NOBODY, file));
      await Promise.all(loops.map(({ ready }) => ready));
      // The node lets go of its files, and waits for those of others before it unmounts.
      const held = fs.openSync(file, 'r');
      const from = replica.log.length;
      const stopped = replica.stop();
      try {
        await replica.logged(/is still in use by/, from);
        for (let i = 0; i < READS; i++) {
          assertRead(sqlite3As(NOBODY, file, 'SELECT count(*) FROM moves'), 0, SHELL_MS_MAX);
        }
        for (const { absent } of await Promise.all(loops.map((loop) => loop.end()))) {
          assert.equal(absent, 0);
        }
      } finally {
        fs.closeSync(held);
        await stopped;
      }
      await replica.start();
    });

    test('read what is written, checkpointed and started over, and do not keep it from that', async (t) => {
      const name = 'burst.db';
      await makeBank(name);
      const before = walHeader(replica, name);
      const loops = Array.from({ length: 3 }, () => loopAs(NOBODY, replica.file(name)));
      await Promise.all(loops.map(({ ready }) => ready));
      const transact = bankWriter(open(t, primary.file(name)), NOTE_BYTES);
      let moves = 0;
      await until('the -wal is started over', async () => {
        for (let i = 0; i < BURST; i++, moves++) transact();
        await inSync(primary, replica, name);
        return !walHeader(replica, name).equals(before);
      });
      for (const { reads } of await Promise.all(loops.map((loop) => loop.end()))) {
        assert.ok(reads > READS, `${reads} reads`);
      }
      assertUsable(replica, name, moves);
      await assertReplicated({ primary, replica }, name);
    });

    test('read what is resynchronised under their eyes', async (t) => {
      const name = 'resync.db';
      await makeBank(name);
      const transact = bankWriter(open(t, primary.file(name)), NOTE_BYTES);
      for (let i = 0; i < 20; i++) transact();
      await inSync(primary, replica, name);
      const loop = loopAs(NOBODY, replica.file(name));
      await loop.ready;
      const from = replica.log.length;
      damageLastPage(replica, name);
      await replica.api(`/verify?name=${name}`);
      await replica.logged(/resync\.db is in sync again/, from);
      await loop.end();
      assertUsable(replica, name, 20);
    });

    test('read what is resynchronised after a start', async (t) => {
      const name = 'unknown.db';
      await makeBank(name);
      bankWriter(open(t, primary.file(name)))();
      await inSync(primary, replica, name);
      await replica.stop();
      for (const dir of ['ltx', 'state']) {
        fs.rmSync(path.join(replica.data, dir), { recursive: true });
      }
      await startAlone();
      assertUsable(replica, name, 1);
      await inSync(primary, replica, name);
      assertUsable(replica, name, 1);
    });

    test('read a database that comes, as a transaction and as a whole', async (t) => {
      const name = 'comes.db';
      await makeBank(name);
      assertUsable(replica, name, 0);
      const late = await cluster.add(`late-${passthrough}`, {
        candidate: false,
        passthrough,
        primaryPort: primary.replicationPort,
        config: CONFIG,
      });
      // It comes by its pages: the log does not reach back to its beginning.
      await primary.stop();
      fs.rmSync(path.join(primary.data, 'ltx', name), { recursive: true });
      await primary.start();
      const transact = bankWriter(open(t, primary.file(name)));
      transact();
      const loop = loopAs(NOBODY, late.file(name));
      await loop.ready;
      await late.start();
      await inSync(primary, late, name);
      assertUsable(late, name, 1);
      const { reads, absent } = await loop.end();
      assert.ok(reads > 0 && absent > 0);
      await late.stop();
    });

    test('read through changes of the journal mode and the page size', async (t) => {
      const name = 'modes.db';
      await makeBank(name, 'delete');
      // A new page size takes the file away from readers for a moment: they wait for it.
      const loop = loopAs(NOBODY, replica.file(name), 10_000);
      await loop.ready;
      for (let round = 0; round < 3; round++) {
        const db = open(t, primary.file(name));
        db.pragma('journal_mode = wal');
        bankWriter(db)();
        await inSync(primary, replica, name);
        assertUsable(replica, name, round + 1);
        db.pragma('journal_mode = delete');
        db.pragma(`page_size = ${[8192, 1024, 4096][round]}`);
        db.exec('VACUUM');
        db.close();
        await inSync(primary, replica, name);
        assert.equal(readBankAs(NOBODY, replica.file(name)).stdout, `${round + 1}`);
      }
      await loop.end();
      await assertReplicated({ primary, replica }, name);
    });

    test('read after the halt lock', async () => {
      const name = 'halted.db';
      await makeBank(name);
      const sql = 'INSERT INTO moves(n) VALUES(0);';
      for (const more of ['', 'PRAGMA wal_checkpoint(TRUNCATE);']) {
        const { status, stderr } = await sqlite(replica, name, sql + more);
        assert.equal(status, 0, stderr);
        await until('the lock is given back', () => isComplete(replica, name));
        assertUsable(replica, name);
        await inSync(primary, replica, name);
        assertUsable(replica, name);
      }
      await assertReplicated({ primary, replica }, name);
    });

    test('may use the -shm when they may read the database, and else not', async (t) => {
      const name = 'guarded.db';
      await makeBank(name);
      const own = async (mode: number) => {
        fs.chownSync(primary.file(name), 0, MEMBER.gid);
        fs.chmodSync(primary.file(name), mode);
        await until('the replica has heard of it', () => {
          const { gid, mode: has } = fs.statSync(replica.file(name));
          return gid === MEMBER.gid && (has & 0o777) === mode;
        });
      };
      await own(0o640);
      await replica.stop();
      await startAlone();
      assertUsable(replica, name, 0, MEMBER);
      assert.match(sqlite3As(NOBODY, replica.file(name), '.tables').stderr, /unable to open/);
      assert.throws(
        () => scriptAs(NOBODY, `${replica.file(name)}-shm`, 'fs.openSync(file)'),
        /EACCES/,
      );
      await inSync(primary, replica, name);
      // While it runs.
      await own(0o604);
      assertUsable(replica, name, 0);
      bankWriter(open(t, primary.file(name)))();
      await inSync(primary, replica, name);
      assertUsable(replica, name, 1);
    });

    test('read where they may not write at all, as in a container', async () => {
      const name = 'container.db';
      await makeBank(name);
      await replica.stop();
      await startAlone();
      const uri = `file:${replica.file(name)}?mode=ro&readonly_shm=1`;
      assertRead(sqlite3As(NOBODY, uri, 'SELECT count(*) FROM moves'), 0, SHELL_MS_MAX);
      await inSync(primary, replica, name);
    });

    test('cannot cut the -shm, and what they write into it harms no file and ends nothing', async (t) => {
      const name = 'scribbled.db';
      await makeBank(name);
      const shm = `${replica.file(name)}-shm`;
      // Once nothing comes, all is copied, and the node writes nothing more into it.
      await until('all is copied', () => {
        const { header, checkpoint } = parseWalIndexHeader(fs.readFileSync(shm));
        return checkpoint.backfill === header.mxFrame;
      });
      const content = fs.readFileSync(shm);
      scriptAs(NOBODY, shm, 'fs.truncateSync(file, 3)');
      assert.ok(fs.readFileSync(shm).equals(content));
      assert.throws(() => scriptAs(NOBODY, shm, "fs.openSync(file, 'w')"), /EROFS/);
      assert.ok(fs.readFileSync(shm).equals(content));

      const transact = bankWriter(open(t, primary.file(name)), NOTE_BYTES);
      const scribbles = [
        // All of it is said to be in the file.
        'fs.writeSync(fd, fs.readFileSync(file).subarray(16, 20), 0, 4, 96)',
        'fs.writeSync(fd, Buffer.alloc(32632), 0, 32632, 136)',
        'fs.writeSync(fd, Buffer.alloc(32768, 0xff), 0, 32768, 0)',
        'fs.writeSync(fd, Buffer.alloc(32768), 0, 32768, 0)',
      ];
      let moves = 0;
      for (const scribble of scribbles) {
        for (let i = 0; i < BURST / 4; i++, moves++) transact();
        await inSync(primary, replica, name);
        scriptAs(NOBODY, shm, `const fd = fs.openSync(file, 'r+'); ${scribble}`);
        // Others read what is written there until the -wal is started over.
        for (let i = 0; i < BURST; i++, moves++) transact();
        await inSync(primary, replica, name);
        assertUsable(replica, name, moves);
        await assertReplicated({ primary, replica }, name);
      }
    });
  });
}

/** Asserts that both programs read it at once, and that what they need is complete and theirs. */
function assertUsable(node: TestNode, name: string, moves?: number, user = NOBODY): void {
  const sql = 'SELECT count(*) FROM moves';
  assertRead(sqlite3As(user, node.file(name), sql), moves, SHELL_MS_MAX);
  assertRead(readBankAs(user, node.file(name)), moves);
  assert.ok(isComplete(node, name), `the wal-index of ${name} is not that of its -wal`);
  const [database, wal, shm] = ['', '-wal', '-shm'].map((suffix) => {
    const { mode, uid, gid } = fs.statSync(node.file(name + suffix));
    return { mode: mode & 0o777, uid, gid };
  });
  const readers = database.mode & 0o444;
  assert.deepEqual(wal, database);
  assert.deepEqual(shm, { ...database, mode: readers | (readers >> 1) });
}

function assertRead(
  { status, stdout, stderr, ms }: Reading,
  moves: number | undefined,
  msMax = READ_MS_MAX,
): void {
  assert.equal(status, 0, stderr);
  if (moves !== undefined) assert.equal(stdout, `${moves}`);
  assert.ok(ms < msMax, `it took ${ms} ms`);
}

function isComplete(node: TestNode, name: string): boolean {
  const { header, consistent } = parseWalIndexHeader(
    bytesOf(node.file(`${name}-shm`), WAL_INDEX_HEADER_BYTES),
  );
  const wal = parseWalHeader(walHeader(node, name));
  return consistent && header.salt1 === wal?.salt1 && header.salt2 === wal.salt2;
}

function walHeader(node: TestNode, name: string): Buffer {
  return bytesOf(node.backing(`${name}-wal`), 32);
}

function bytesOf(file: string, length: number): Buffer {
  const fd = fs.openSync(file, 'r');
  try {
    const bytes = Buffer.alloc(length);
    fs.readSync(fd, bytes, 0, length, 0);
    return bytes;
  } finally {
    fs.closeSync(fd);
  }
}

/** Debian's sqlite3 as nobody, again and again as soon as the file is there, until `stop` is. */
function shellLoop(stop: string, file: string): { end(): Promise<void> } {
  const script = `
    until [ -e "$1" ]; do
      if [ -e "$2" ]; then sqlite3 -batch -bail "$2" "SELECT count(*) FROM moves" || exit 1; fi
    done`;
  const user = [`--reuid=${NOBODY.uid}`, `--regid=${NOBODY.gid}`, '--clear-groups'];
  const child = spawn('setpriv', [...user, 'sh', '-c', script, 'sh', stop, file]);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text));
  const closed = once(child, 'close');
  return {
    async end() {
      fs.writeFileSync(stop, '');
      const [status] = await closed;
      assert.equal(status, 0, output.slice(-2000));
    },
  };
}

/** Turns a byte of a note around, which readers of the bank do not heed, past the mount. */
/** The page of the last frame, in the -wal and in the file: readers go to one of them. */
function damageLastPage(node: TestNode, name: string): void {
  const wal = node.backing(`${name}-wal`);
  const frame = fs.statSync(wal).size - WAL_FRAME_HEADER_BYTES - PAGE_BYTES;
  const pgno = fs.readFileSync(wal).readUInt32BE(frame);
  turnByte(wal, frame + WAL_FRAME_HEADER_BYTES + PAGE_BYTES - 10);
  turnByte(node.backing(name), pgno * PAGE_BYTES - 10);
}
