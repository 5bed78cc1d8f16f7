/** A node whose disk is full, or that ends, in the middle of an apply: what readers see is what its position says. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { applyQueue } from '../../../src/engine/apply.ts';
import type { Database } from '../../../src/engine/database.ts';
import type { FileKind } from '../../../src/engine/files.ts';
import { writeMarkers } from '../../../src/engine/markers.ts';
import { recoverDatabase } from '../../../src/engine/recover.ts';
import { finishUnfinished } from '../../../src/engine/unfinished.ts';
import { LiteFsError } from '../../../src/errors.ts';
import { sqlite3 } from '../../harness/app.ts';
import { databaseImage } from '../../harness/image.ts';
import { withFolder } from '../os/folder.ts';
import { EngineStand } from './engine-stand.ts';
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

test('a transaction that is kept is written over the file once there is room', () =>
  inTheMiddle('delete', (replica, rest, images) => {
    const left = refuse(replica.db, 'db', 3);
    const [applied] = replica.apply(rest[0]);
    assert.equal(applied.error, undefined);
    assert.equal(left(), 0);
    assert(databaseImage(replica.file).equals(images[1]));
  }));

test('a stop in the middle of a transaction leaves no marker of a clean one', () =>
  inTheMiddle('delete', (replica, rest) => {
    const { ctx, db } = replica;
    refuse(replica.db, 'db', 1);
    const task = applyQueue(ctx, db, [{ input: { bytes: rest[0] }, done: assert.fail }]);
    while (!task.next().value);
    writeMarkers(ctx, [db], undefined);
    assert(!fs.existsSync(db.markerFile));
  }));

test('a primary that ends while it writes a transaction of a node with its halt lock finishes it at its start', () =>
  inTheMiddle('delete', (node, rest, images) => {
    const { files, position } = node.db;
    const write = files.write.bind(files);
    node.db.lent = true;
    let writes = 0;
    files.write = (...what) => {
      if (++writes === 2) throw new Error('killed');
      write(...what);
    };
    assert.equal(`${node.apply(rest[0])[0].error}`, 'Error: killed');
    assert(!databaseImage(node.file).equals(images[1]), 'it is half written');
    node.close();

    const again = node.startedAgain();
    finish(recoverDatabase(again.ctx, again.db, { role: 'primary', formerRole: 'primary' }));
    assert.equal(again.db.position.txid, position.txid + 1);
    assert(databaseImage(again.file).equals(images[1]));
    again.close();
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
    const left = refuse(db, 'db', 1);
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

test('a transaction of a node with the halt lock that the log has no room for leaves no note', () =>
  inTheMiddle('delete', (node, rest) => {
    const { db } = node;
    db.lent = true;
    db.log.append = () => {
      throw new LiteFsError('DISK', 'the disk is full');
    };
    const [{ error }] = node.apply(rest[0]);
    assert.equal((error as LiteFsError).code, 'DISK');
    assert(!fs.existsSync(db.unfinishedFile));
    assert.equal(db.status.state, 'ok', 'the other node hears of it');
  }));

test('a log that cannot be flushed holds up such a transaction, and what is captured waits for it', () =>
  inTheMiddle('delete', (node, rest, images) => {
    const { db } = node;
    db.lent = true;
    const sync = db.log.sync.bind(db.log);
    let left = 1;
    db.log.sync = () => {
      if (left-- > 0) throw new LiteFsError('DISK', 'the disk fails');
      sync();
    };
    const [{ error }] = node.apply(rest[0]);
    assert.ifError(error);
    assert(left < 0);
    assert.equal(db.shown, undefined);
    assert(databaseImage(node.file).equals(images[1]));
  }));

test('a note of a transaction that others have followed changes nothing', () =>
  inTheMiddle('delete', (node, rest, images) => {
    for (const { error } of node.apply(...rest)) assert.ifError(error);
    const { db } = node;
    fs.writeFileSync(db.unfinishedFile, `${db.position.txid - 1}`);
    finishUnfinished(db);
    assert(databaseImage(node.file).equals(images[2]));
    assert(!fs.existsSync(db.unfinishedFile));
  }));
