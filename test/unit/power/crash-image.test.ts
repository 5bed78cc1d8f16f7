/** Which disks a power cut may leave, of writes that were recorded by hand. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';
import {
  type BlockRecord,
  encodeRecord,
  readBlockLog,
  readNotes,
} from '../../harness/power/block-log.ts';
import {
  FATES,
  type Fate,
  sectorOwners,
  writeCrashImage,
} from '../../harness/power/crash-image.ts';
import { SeededRandom } from '../../harness/random.ts';

const SECTOR = 512;
const DISK = { disk: 0, bytes: 8 * SECTOR };

function write(sector: number, sectors: number, disk = 0): BlockRecord {
  return {
    kind: 'write',
    disk,
    offset: sector * SECTOR,
    length: sectors * SECTOR,
    position: 0,
  };
}

function flush(disk = 0): BlockRecord {
  return { kind: 'flush', disk, offset: 0, length: 0, position: 0 };
}

function owners(records: readonly BlockRecord[], fate: Fate, at = records.length): number[] {
  return [...sectorOwners(records, { ...DISK, at, fate }, new SeededRandom(1))];
}

describe('a disk after a power cut', () => {
  it('has all that was written before the last flush, whatever becomes of the rest', () => {
    const records = [write(0, 8), write(2, 2), flush(), write(0, 8), write(4, 1)];
    const flushed = [0, 0, 1, 1, 0, 0, 0, 0];
    assert.deepEqual(owners(records, 'none'), flushed);
    for (const fate of FATES) {
      for (const [sector, owner] of owners(records, fate).entries()) {
        const possible = [flushed[sector], 3, ...(sector === 4 ? [4] : [])];
        assert.ok(possible.includes(owner), `${fate}: sector ${sector} is of ${owner}`);
      }
    }
  });

  it('has nothing of what comes after the cut', () => {
    const records = [write(0, 8), flush(), write(0, 4), write(0, 2), flush()];
    assert.deepEqual(owners(records, 'all', 3), [2, 2, 2, 2, 0, 0, 0, 0]);
  });

  it('keeps to its own flushes', () => {
    const records = [write(0, 8), flush(1), write(0, 8, 1)];
    assert.deepEqual(owners(records, 'none'), Array(8).fill(-1));
    assert.deepEqual(owners(records, 'all'), Array(8).fill(0));
  });

  it('is torn between sectors, and lacks earlier writes but not later ones', () => {
    const cut = { ...DISK, at: 2, fate: 'torn' } as const;
    const seeds = Array.from({ length: 30 }, (_, seed) => new SeededRandom(seed));
    const torn = seeds.map((random) => new Set(sectorOwners([flush(), write(0, 8)], cut, random)));
    assert.ok(torn.some((found) => found.size > 1));
    assert.ok(torn.some((found) => found.size === 1 && found.has(1)));
    assert.ok(torn.some((found) => found.size === 1 && found.has(-1)));
    const many = Array.from({ length: 400 }, (_, i) => write(i % 8, 1));
    assert.ok(owners(many, 'late').every((owner) => owner > 350));
    assert.ok(owners(many, 'early').every((owner) => owner < 390));
  });

  it('is made of the data in the log, which is cut where a record ends', () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-blocks-'));
    try {
      const log = path.join(dir, 'log');
      const note = Buffer.from('{"kind":"event"}');
      const parts = [
        encodeRecord('write', 0, 0, Buffer.alloc(2 * SECTOR, 'a')),
        encodeRecord('note', 0, 0, note),
        encodeRecord('write', 0, SECTOR, Buffer.alloc(2 * SECTOR, 'b')),
        encodeRecord('flush', 0, 0, Buffer.alloc(0)),
        encodeRecord('write', 0, 0, Buffer.alloc(SECTOR, 'c')).subarray(0, 100),
      ];
      fs.writeFileSync(log, Buffer.concat(parts));
      const records = readBlockLog(log);
      assert.deepEqual(
        records.map(({ kind }) => kind),
        ['write', 'note', 'write', 'flush'],
      );
      assert.deepEqual(readNotes(log, records), [{ at: 1, text: note.toString() }]);
      const file = path.join(dir, 'disk');
      const cut = { ...DISK, at: 4, fate: 'none' } as const;
      writeCrashImage(file, log, records, cut, new SeededRandom(1));
      const expected = Buffer.alloc(DISK.bytes);
      expected.fill('a', 0, SECTOR).fill('b', SECTOR, 3 * SECTOR);
      assert.ok(fs.readFileSync(file).equals(expected));
    } finally {
      fs.rmSync(dir, { recursive: true, force: true });
    }
  });
});
