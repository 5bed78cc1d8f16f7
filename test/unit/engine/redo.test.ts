/** A replica that was killed in the middle: pages are written anew from the log, or fetched when that is damaged too. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { layoutOf } from '../../../src/store/layout.ts';
import { withFolder } from '../os/folder.ts';
import { EngineStand } from './engine-stand.ts';

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
