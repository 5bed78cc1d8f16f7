/** A file that somebody has put on a replica, under a name that its primary comes to have: it is kept. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { prepareFiles } from '../../../src/engine/apply/replica-files.ts';
import { ResyncTask } from '../../../src/engine/apply/resync.ts';
import { writeMarkers } from '../../../src/engine/recover/markers.ts';
import { recoverDatabase } from '../../../src/engine/recover/recover.ts';
import type { LiteFsError } from '../../../src/errors.ts';
import { sqlite3 } from '../../harness/app.ts';
import { databaseImage } from '../../harness/image.ts';
import { withFolder } from '../os/folder.ts';
import { finish, NodeStand } from './node-stand.ts';
import { assertSame, withTwo } from './two-nodes.ts';

for (const mode of ['wal', 'delete']) {
  for (const way of ['transactions', 'a resync'] as const) {
    it(`by ${way}, of a database in mode ${mode}`, () =>
      withTwo(mode, (two) => {
        const { primary, replica } = two;
        sqlite3(replica.file, "CREATE TABLE own(x); INSERT INTO own VALUES('mine')");
        const own = fs.readFileSync(replica.file);
        if (way === 'transactions') {
          for (const { error } of replica.apply(...primary.entries)) assert.ifError(error);
        } else {
          const base = { position: primary.db.position, pageSize: 4096, pageCount: 0 };
          const resync = new ResyncTask(replica.ctx, replica.db, { ...base, diverged: false });
          for (const bytes of primary.entries) finish(resync.entry({ bytes }));
          finish(resync.finish(primary.db.position));
        }
        assertSame(two);
        const kept = path.join(replica.ctx.layout.divergence, 'app.db');
        const folders = fs.readdirSync(kept);
        assert.equal(folders.length, 1);
        const dir = path.join(kept, folders[0]);
        assert.deepEqual(fs.readFileSync(path.join(dir, 'app.db')), own);
        const about = JSON.parse(fs.readFileSync(path.join(dir, 'about.json'), 'utf8'));
        assert.equal(about.had, null);
      }));
  }
}

for (const mode of ['wal', 'delete']) {
  for (const content of ['other', 'the same'] as const) {
    it(`while the node was down, with ${content} pages, mode ${mode}: compared as a whole`, () =>
      withTwo(mode, (two) => {
        const { primary, replica } = two;
        if (content === 'other') {
          sqlite3(replica.file, "CREATE TABLE own(x); INSERT INTO own VALUES('mine')");
        } else {
          fs.writeFileSync(replica.file, databaseImage(primary.file));
        }
        const roles = { role: 'replica', formerRole: 'replica' } as const;
        finish(recoverDatabase(replica.ctx, replica.db, roles));
        prepareFiles(replica.ctx, replica.db);
        const before = databaseImage(replica.file);
        // On 15c890b readers were taken back to the first transaction, and what was there was gone.
        const [{ error }] = replica.apply(primary.entries[0]);
        assert.equal((error as LiteFsError).code, 'CHECKSUM_MISMATCH');
        assert(databaseImage(replica.file).equals(before));

        const { position, sums } = primary.db;
        const base = { position, pageSize: 4096, pageCount: sums.pageCount, diverged: false };
        const resync = new ResyncTask(replica.ctx, replica.db, base);
        if (content === 'other') resync.pages(recordsOf(databaseImage(primary.file)));
        finish(resync.finish(position));
        assertSame(two);
        const kept = path.join(replica.ctx.layout.divergence, 'app.db');
        assert.equal(fs.existsSync(kept), content === 'other');
      }));
  }
}

// On e8b0209 it stayed at transaction 0 on the new primary: no replica got it, and none that knew of it was ever in sync.
it('while the node was down, which is the primary after a clean stop: it is the first transaction', () =>
  withFolder((folder) => {
    const before = new NodeStand(folder);
    sqlite3(before.file, "CREATE TABLE own(x); INSERT INTO own VALUES('mine')");
    finish(recoverDatabase(before.ctx, before.db, { role: 'replica', formerRole: 'replica' }));
    assert.deepEqual([before.db.position.txid, before.db.pageCount], [0, 2]);
    before.db.files.close();
    writeMarkers(before.ctx, [before.db], undefined);
    const after = before.startedAgain();
    before.close();
    finish(recoverDatabase(after.ctx, after.db, { role: 'primary', formerRole: 'replica' }));
    assert.equal(after.db.position.txid, 1);
    assert.equal(after.db.position.checksum, after.db.sums.checksum);
    after.close();
  }));

// On e8b0209 it was removed, and nothing was left of it.
it('while the node was down, under the name of one that has ended: it is kept', () =>
  withTwo('delete', ({ primary, replica }) => {
    primary.db.files.close();
    fs.rmSync(primary.file);
    primary.capture(true);
    for (const { error } of replica.apply(...primary.entries)) assert.ifError(error);
    assert.equal(replica.db.position.checksum, 0n);
    replica.db.files.close();
    sqlite3(replica.file, "CREATE TABLE own(x); INSERT INTO own VALUES('mine')");
    const own = fs.readFileSync(replica.file);
    finish(recoverDatabase(replica.ctx, replica.db, { role: 'replica', formerRole: 'replica' }));
    assert(!fs.existsSync(replica.file));
    const kept = path.join(replica.ctx.layout.divergence, 'app.db');
    const [dir] = fs.readdirSync(kept);
    assert.deepEqual(fs.readFileSync(path.join(kept, dir, 'app.db')), own);
  }));

/** As a primary sends pages. */
function recordsOf(image: Buffer): Buffer {
  const records: Buffer[] = [];
  for (let at = 0; at < image.length; at += 4096) {
    const pgno = Buffer.alloc(4);
    pgno.writeUInt32BE(at / 4096 + 1);
    records.push(pgno, image.subarray(at, at + 4096));
  }
  return Buffer.concat(records);
}

it('nothing is kept of a database that is new here', () =>
  withTwo('wal', ({ primary, replica }) => {
    for (const { error } of replica.apply(...primary.entries)) assert.ifError(error);
    assert.deepEqual(fs.readdirSync(replica.ctx.layout.divergence), []);
  }));
