/**
 * What a power cut may leave of a disk. All that was written before its last flush is there. Of each write since then it
 * has all, nothing, or some sectors, whatever it has of other writes.
 */
import fs from 'node:fs';
import type { SeededRandom } from '../random.ts';
import type { BlockRecord } from './block-log.ts';

/** What a disk writes all or nothing of. */
const SECTOR_BYTES = 512;

/**
 * What becomes of the writes since the last flush.
 * all: each is there, as if the cut came between two writes. none: as if the disk kept to flushes alone.
 * some: each is there or not. torn: some, and of some of them only sectors. late: the earlier ones are not there, the later
 * ones are. early: the other way round.
 */
export const FATES = ['all', 'none', 'some', 'torn', 'late', 'early'] as const;
export type Fate = (typeof FATES)[number];

export interface DiskCut {
  readonly disk: number;
  /** Of the disk. */
  readonly bytes: number;
  /** After how many records. */
  readonly at: number;
  readonly fate: Fate;
}

/** Makes the file of a disk after a cut. */
export function writeCrashImage(
  file: string,
  log: string,
  records: readonly BlockRecord[],
  cut: DiskCut,
  random: SeededRandom,
): void {
  const owners = sectorOwners(records, cut, random);
  const from = fs.openSync(log, 'r');
  const to = fs.openSync(file, 'w');
  try {
    fs.ftruncateSync(to, cut.bytes);
    for (let sector = 0; sector < owners.length; ) {
      const owner = owners[sector];
      const first = sector++;
      while (sector < owners.length && owners[sector] === owner) sector++;
      if (owner < 0) continue;
      const { position, offset } = records[owner];
      const data = Buffer.allocUnsafe((sector - first) * SECTOR_BYTES);
      fs.readSync(from, data, 0, data.length, position + first * SECTOR_BYTES - offset);
      fs.writeSync(to, data, 0, data.length, first * SECTOR_BYTES);
    }
  } finally {
    fs.closeSync(from);
    fs.closeSync(to);
  }
}

/** The number of the record that each sector is from; -1: it was never written. */
export function sectorOwners(
  records: readonly BlockRecord[],
  { disk, bytes, at, fate }: DiskCut,
  random: SeededRandom,
): Int32Array {
  const owners = new Int32Array(bytes / SECTOR_BYTES).fill(-1);
  const numbers: number[] = [];
  let flushed = 0;
  for (let i = 0; i < at; i++) {
    if (records[i].disk !== disk) continue;
    if (records[i].kind === 'write') numbers.push(i);
    if (records[i].kind === 'flush') flushed = numbers.length;
  }
  for (const [i, number] of numbers.entries()) {
    const share = (i - flushed) / (numbers.length - flushed);
    const kept = i < flushed ? 'whole' : chance(fate, share, random);
    if (kept === 'nothing') continue;
    const { offset, length } = records[number];
    const [first, end] = [offset / SECTOR_BYTES, (offset + length) / SECTOR_BYTES];
    if (kept === 'whole') owners.fill(number, first, end);
    else for (let s = first; s < end; s++) if (random.below(2) === 0) owners[s] = number;
  }
  return owners;
}

/** `share`: how many of the unflushed writes came before it, from 0 to 1. */
function chance(fate: Fate, share: number, random: SeededRandom): 'whole' | 'nothing' | 'torn' {
  const dice = random.below(100);
  const kept = {
    all: true,
    none: false,
    some: dice < 50,
    torn: dice < 60,
    late: share * 100 > dice,
    early: share * 100 <= dice,
  }[fate];
  if (!kept) return 'nothing';
  return fate === 'torn' && random.below(3) === 0 ? 'torn' : 'whole';
}
