/** A replica that was killed in the middle: pages are written anew from the log, or fetched when that is damaged too. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { saveState } from '../../../src/engine/core/saved-state.ts';
import { layoutOf } from '../../../src/store/layout.ts';
import { EngineStand } from '../../harness/engine-stand.ts';
import { withFolder } from '../os/folder.ts';
import { Disk } from './cut-off.ts';
import { NodeStand } from './node-stand.ts';

const NAME = 'app.db';
const LTX_HEADER_BYTES = 100;
const REPLICA = { role: 'replica', formerRole: 'replica' } as const;

/** Turns bytes of a file around, from that offset on. */
function damage(file: string, offset: number): void {
  const bytes = fs.readFileSync(file);
  for (let i = offset; i < offset + 100; i++) bytes[i] ^= 0x55;
  fs.writeFileSync(file, bytes);
}

/** The data directory of a replica whose second page is damaged, and its log where the page is. */
function withDamage(body: (dir: string, entry: { path: string; offset: number }) => void) {
  return withFolder(async (dir) => {
    const stand = new EngineStand(dir);
    await stand.start();
    await stand.commit(NAME, 'CREATE TABLE t(x); INSERT INTO t VALUES(hex(zeroblob(1500)));');
    await stand.stop();
    const [entry] = stand.database(NAME).log.entriesAfter(0);
    damage(stand.file(NAME), 4096 + 3500);
    body(dir, entry);
  });
}

test('a damaged page is written anew from the log', () =>
  withDamage((dir) => {
    const stand = new EngineStand(dir, REPLICA);
    stand.engine.recover();
    assert.equal(stand.database(NAME).position.txid, 1);
    stand.die();
  }));

test('one that is set aside is not served should that be cut off: the next start goes on', async (t) => {
  for (let at = 1, isCut = true; isCut; at++) {
    await withDamage((dir, entry) => {
      damage(entry.path, entry.offset + LTX_HEADER_BYTES);
      const stand = new EngineStand(dir, REPLICA);
      const disk = new Disk(t, dir);
      disk.cutAt(at);
      try {
        stand.engine.recover();
      } catch (error) {
        if (disk.cut === undefined) throw error;
      }
      isCut = disk.cut !== undefined;
      stand.die();
      disk.restart(false);
      const next = new EngineStand(dir, REPLICA);
      next.engine.recover();
      assert.equal(next.engine.registry.get(NAME)?.pageCount ?? 0, 0, `cut off at ${disk.cut}`);
      assert(!fs.existsSync(next.file(NAME)));
      next.die();
    });
  }
});

test('a database that the primary does not have is not looked for by the next start', () =>
  withFolder(async (dir) => {
    const primary = new NodeStand(path.join(dir, 'primary'));
    primary.sql('CREATE TABLE t(x);');
    primary.capture(true);
    const stand = new EngineStand(dir, REPLICA);
    await stand.start();
    const source = { bytes: new Uint8Array(primary.entries[0]) };
    primary.close();
    await stand.call('apply', { database: NAME, source });
    saveState(stand.database(NAME));
    await stand.call('drop', { database: NAME, diverged: false });
    stand.die();
    const next = new EngineStand(dir, REPLICA);
    next.engine.recover();
    assert.deepEqual(fs.readdirSync(layoutOf(dir).quarantine), []);
    next.die();
  }));

test('with a log that is damaged as well nothing is written: the files are set aside as they are', () =>
  withDamage((dir, entry) => {
    damage(entry.path, entry.offset + LTX_HEADER_BYTES);
    const before = fs.readFileSync(path.join(layoutOf(dir).tree, NAME));
    const stand = new EngineStand(dir, REPLICA);
    stand.engine.recover();
    assert.equal(stand.logged(/is damaged: /).length, 1);
    assert.equal(
      stand.logged(/cannot be made what it was before the unclean stop: 1 of/).length,
      1,
    );
    assert.equal(stand.engine.registry.get(NAME), undefined);
    const [aside] = fs.readdirSync(layoutOf(dir).quarantine);
    const kept = fs.readFileSync(path.join(layoutOf(dir).quarantine, aside, NAME));
    assert(kept.equals(before));
    stand.die();
  }));
