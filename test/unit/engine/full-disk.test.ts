/** A node whose disk is full, or that ends, in the middle of an apply: what readers see is what its position says. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { applyQueue } from '../../../src/engine/apply/apply.ts';
import { checkpoint } from '../../../src/engine/apply/checkpoints.ts';
import type { Database } from '../../../src/engine/core/database.ts';
import { writeTransaction } from '../../../src/engine/core/transaction-writer.ts';
import type { FileKind } from '../../../src/engine/files/files.ts';
import { writeMarkers } from '../../../src/engine/recover/markers.ts';
import { LiteFsError } from '../../../src/errors.ts';
import { sqlite3 } from '../../harness/app.ts';
import { EngineStand } from '../../harness/engine-stand.ts';
import { databaseImage } from '../../harness/image.ts';
import { withFolder } from '../os/folder.ts';
import { finish, NodeStand } from './node-stand.ts';

const STATEMENTS = ['CREATE TABLE t(x);', 'INSERT INTO t VALUES(1);', 'INSERT INTO t VALUES(2);'];

/** The next `refusals` writes of such a file find the disk full. Tells how many of them are left. */
function refuse({ files }: Database, what: FileKind, refusals: number): () => number {
  const write = files.write.bind(files);
  let left = refusals;
  files.write = (kind, ...where) => {
    if (kind === what && left > 0) {
      left--;
      throw new LiteFsError('DISK', 'the disk is full');
    }
    write(kind, ...where);
  };
  return () => left;
}

/** A replica that has the first of three transactions, the other two, and what the database is after each. */
function inTheMiddle(
  mode: 'wal' | 'delete',
  test: (
    replica: NodeStand,
    rest: readonly Buffer[],
    images: readonly Buffer[],
  ) => void | Promise<void>,
): Promise<void> {
  return withFolder(async (folder) => {
    const primary = new NodeStand(path.join(folder, 'primary'));
    const replica = new NodeStand(path.join(folder, 'replica'));
    try {
      const images = STATEMENTS.map((statement) => {
        primary.sql(`PRAGMA journal_mode=${mode};\n${statement}`);
        primary.capture(mode !== 'wal');
        return databaseImage(primary.file);
      });
      const [first, ...rest] = primary.entries;
      replica.apply(first);
      await test(replica, rest, images);
    } finally {
      primary.close();
      replica.close();
    }
  });
}

test('a transaction that could not be kept is not shown', () =>
  inTheMiddle('wal', (replica, rest, images) => {
    const { log } = replica.db;
    const append = log.append.bind(log);
    let left = 1;
    log.append = (...entry) => {
      if (left-- === 0) throw new LiteFsError('DISK', 'the disk is full');
      return append(...entry);
    };
    const { txid } = replica.db.position;
    const [kept, lost] = replica.apply(...rest);
    assert.equal(kept.error, undefined);
    assert.equal((lost.error as LiteFsError).code, 'DISK');
    assert.equal(replica.db.position.txid, txid + 1);
    assert(databaseImage(replica.file).equals(images[1]), 'the position says one less');

    replica.apply(rest[1]);
    assert(databaseImage(replica.file).equals(images[2]));
  }));

for (const kind of ['wal', 'shm'] as const) {
  test(`a transaction that is kept, and for which the -${kind} has no room, is shown once it has`, () =>
    inTheMiddle('wal', (replica, rest, images) => {
      replica.apply(rest[0]);
      const left = refuse(replica.db, kind, 3);
      const [applied] = replica.apply(rest[1]);
      assert.equal(applied.error, undefined);
      assert.equal(left(), 0);
      assert(databaseImage(replica.file).equals(images[2]));
      const rows = sqlite3(`file:${replica.file}?mode=ro`, 'SELECT group_concat(x) FROM t');
      assert.equal(rows, '1,2');
    }));
}

test('a -wal that the disk does not let us copy is copied once it does; readers have all of it', () =>
  inTheMiddle('delete', (replica, rest, images) => {
    const { ctx, db } = replica;
    const left = refuse(db, 'db', 2);
    for (const { error } of replica.apply(...rest)) assert.ifError(error);
    assert.equal(left(), 2, 'nothing goes into the file');
    assert(databaseImage(replica.file).equals(images[2]));
    for (let refusal = 0; refusal < 2; refusal++) {
      assert.equal(finish(checkpoint(ctx, db)), false);
      const rows = sqlite3(`file:${replica.file}?mode=ro`, 'SELECT group_concat(x) FROM t');
      assert.equal(rows, '1,2');
    }
    assert.equal(finish(checkpoint(ctx, db)), true);
    assert(fs.readFileSync(replica.file).equals(images[2]), 'the file alone');
  }));

test('a stop in the middle of a transaction leaves no marker of a clean one', () =>
  inTheMiddle('delete', (replica, rest) => {
    const { ctx, db } = replica;
    refuse(replica.db, 'wal', 1);
    const task = applyQueue(ctx, db, [{ input: { bytes: rest[0] }, done: assert.fail }]);
    while (!task.next().value);
    writeMarkers(ctx, [db], undefined);
    assert(!fs.existsSync(db.markerFile));
  }));

/** A primary's transactions in a rollback-journal mode, and a node that has the first of them. */
function withStand(
  role: 'primary' | 'replica',
  body: (stand: EngineStand, rest: readonly Buffer[], images: readonly Buffer[]) => Promise<void>,
): Promise<void> {
  return inTheMiddle('delete', async (replica, rest, images) => {
    replica.close();
    const dir = path.resolve(replica.ctx.layout.root);
    const stand = new EngineStand(dir, { role, formerRole: 'replica' });
    await stand.start();
    try {
      await body(stand, rest, images);
    } finally {
      stand.die();
    }
  });
}

const NAME = 'app.db';

test('the status says so while what is kept cannot be written, and what is sent cannot be kept', () =>
  withStand('replica', async (stand, rest, images) => {
    const db = stand.database(NAME);
    const of = async () => (await stand.call('info', {})).find(({ name }) => name === NAME);
    const left = refuse(db, 'wal', 1);
    const applied = stand.call('apply', { database: NAME, source: { bytes: rest[0] } });
    await stand.until('a refusal', () => left() === 0 && db.status.state !== 'ok');
    const info = await of();
    assert.deepEqual(info?.status, {
      state: 'degraded',
      reason: 'it cannot be written, and is tried again: the disk is full',
    });
    assert(Math.abs(Date.now() - info.statusSinceMs) < 60_000);
    await applied;
    assert.equal((await of())?.status.state, 'ok');

    db.log.append = () => {
      throw new LiteFsError('DISK', 'the disk is full');
    };
    const again = stand.call('apply', { database: NAME, source: { bytes: rest[1] } });
    await assert.rejects(again, /the disk is full/);
    assert.match(JSON.stringify((await of())?.status), /degraded.*it cannot follow/);
    Reflect.deleteProperty(db.log, 'append');
    await stand.call('apply', { database: NAME, source: { bytes: rest[1] } });
    assert.equal((await of())?.status.state, 'ok');
    assert(databaseImage(stand.file(NAME)).equals(images[2]));
  }));

test('a transaction of a node with the halt lock that is half written is captured by nobody', () =>
  withStand('primary', async (stand, rest, images) => {
    const db = stand.database(NAME);
    const before = db.position.txid;
    await stand.call('haltLend', { database: NAME, waitMs: 1000 });
    const { write } = db.files;
    let writes = 0;
    db.files.write = (...what) => {
      if (++writes === 2) throw new LiteFsError('DISK', 'the disk is full');
      write.call(db.files, ...what);
    };
    const done = stand.call('haltCommit', { database: NAME, source: { bytes: rest[0] } });
    await stand.until('half of it', () => writes === 2);
    const open = { token: 1n, kind: 'open', path: `${NAME}-pos` } as const;
    stand.hold(open);
    await done;
    await stand.call('haltReturn', { database: NAME });
    await stand.call('flush', {});
    assert.equal(db.position.txid, before + 1);
    assert(databaseImage(stand.file(NAME)).equals(images[1]));
  }));

/** What a transaction under the halt lock comes to, on a primary whose lock is lent. */
function lent(
  body: (stand: EngineStand, rest: readonly Buffer[], images: readonly Buffer[]) => Promise<void>,
): Promise<void> {
  return withStand('primary', async (stand, rest, images) => {
    await stand.call('haltLend', { database: NAME, waitMs: 1000 });
    await body(stand, rest, images);
  });
}

function isHot(stand: EngineStand): boolean {
  const journal = stand.file(`${NAME}-journal`);
  return fs.existsSync(journal) && (fs.readFileSync(journal)[0] ?? 0) !== 0;
}

for (const step of ['the flush of the log', 'the first page', 'the second page'] as const) {
  test(`a primary that is killed at ${step} of a transaction of a node with the halt lock has none of it at its start`, () =>
    lent(async (stand, rest, images) => {
      stand.isBroken = true;
      const db = stand.database(NAME);
      const before = db.position.txid;
      const { write } = db.files;
      let writes = 0;
      db.files.write = (...what) => {
        if (step === 'the first page' || (++writes === 2 && step === 'the second page')) {
          throw new Error('killed');
        }
        write.call(db.files, ...what);
      };
      db.log.sync = () => {
        if (step === 'the flush of the log') throw new Error('killed');
      };
      const commit = stand.call('haltCommit', { database: NAME, source: { bytes: rest[0] } });
      await assert.rejects(commit, /killed/);
      assert(isHot(stand));
      stand.die();

      const dir = path.resolve(stand.engine.ctx.layout.root);
      const again = new EngineStand(dir, { role: 'primary', formerRole: 'primary' });
      await again.start();
      try {
        assert(!isHot(again));
        assert(databaseImage(again.file(NAME)).equals(images[0]), 'as it was');
        // The log had it, and nobody was told: that it was taken back is a transaction of its own.
        assert.equal(again.database(NAME).position.txid, before + 2);
      } finally {
        again.die();
      }
    }));
}

test('a transaction of a node with the halt lock that the log has no room for changes nothing', () =>
  lent(async (stand, rest, images) => {
    const db = stand.database(NAME);
    const { position } = db;
    db.log.append = () => {
      throw new LiteFsError('DISK', 'the disk is full');
    };
    const commit = stand.call('haltCommit', { database: NAME, source: { bytes: rest[0] } });
    await assert.rejects(commit, /the disk is full/);
    assert(!isHot(stand));
    assert.deepEqual(db.position, position);
    assert(fs.readFileSync(stand.file(NAME)).equals(images[0]));
    assert.equal(db.status.state, 'ok', 'the other node hears of it');
    Reflect.deleteProperty(db.log, 'append');
    await stand.call('haltCommit', { database: NAME, source: { bytes: rest[0] } });
    assert(fs.readFileSync(stand.file(NAME)).equals(images[1]));
  }));

test('a log that cannot be flushed holds up such a transaction: no page is written before', () =>
  lent(async (stand, rest, images) => {
    const db = stand.database(NAME);
    const sync = db.log.sync.bind(db.log);
    let failures = 0;
    db.log.sync = () => {
      if (failures === 0) {
        failures++;
        assert(isHot(stand), 'it is not committed yet');
        assert(fs.readFileSync(stand.file(NAME)).equals(images[0]), 'nor is a page written');
        throw new LiteFsError('DISK', 'the disk fails');
      }
      sync();
    };
    await stand.call('haltCommit', { database: NAME, source: { bytes: rest[0] } });
    assert.equal(failures, 1);
    assert(!isHot(stand));
    assert.equal(db.shown, undefined);
    assert(fs.readFileSync(stand.file(NAME)).equals(images[1]));
  }));

test('a transaction that connections to the primary would not notice is refused', () =>
  lent(async (stand, rest, images) => {
    const db = stand.database(NAME);
    const { position } = db;
    const page = Buffer.from(images[0].subarray(4096, 8192));
    page.writeUInt8(page[page.length - 1] + 1, page.length - 1);
    const writer = writeTransaction(stand.engine.ctx, db, 4096, db.pageCount);
    writer.page(2, page);
    const { stored } = writer.seal();
    const commit = stand.call('haltCommit', { database: NAME, source: stored });
    await assert.rejects(commit, /change counter/);
    assert.deepEqual(db.position, position);
    assert(!isHot(stand));
    await stand.call('haltCommit', { database: NAME, source: { bytes: rest[0] } });
  }));
