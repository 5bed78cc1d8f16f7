/** Rollback journals: those of SQLite, and such with segments, records, freelists and super-journals that say anything. */
import assert from 'node:assert/strict';
import { originalPages, parseJournal } from '../../../../src/sqlite/journal.ts';
import { findSuperJournal, journalChecksum } from '../../../../src/sqlite/journal-format.ts';
import type { SeededRandom } from '../../random.ts';
import { type Grammar, PURE } from '../grammar.ts';
import { edge, mutate, noise, oddNumber, oddText } from '../mutate.ts';
import { journalDatabase } from '../sqlite-files.ts';

const MAGIC = Buffer.from('d9d505f920a163d7', 'hex');

function journalFile(bytes: Buffer) {
  return {
    size: bytes.length,
    read: (offset: number, length: number) => bytes.subarray(offset, offset + length),
  };
}

/** Page 1, with a freelist that begins anywhere. */
function pageOne(random: SeededRandom, page1: Buffer, pageSize: number, most: number): Buffer {
  const page = Buffer.alloc(pageSize);
  page1.copy(page, 0, 0, Math.min(pageSize, page1.length));
  page.writeUInt16BE(pageSize === 65536 ? 1 : pageSize, 16);
  const odd = () => (random.below(2) === 0 ? oddNumber(random, 32) : random.below(most + 2));
  page.writeUInt32BE(odd(), 32);
  page.writeUInt32BE(odd(), 36);
  // auto_vacuum looks at all of the list.
  page.writeUInt32BE(random.below(2), 52);
  if (random.below(8) === 0) page[20] = random.below(256);
  return page;
}

/** A trunk of the freelist that leads anywhere, also to itself. */
function trunk(random: SeededRandom, pageSize: number, most: number): Buffer {
  const page = Buffer.alloc(pageSize);
  page.writeUInt32BE(random.below(4) === 0 ? oddNumber(random, 32) : random.below(most + 2), 0);
  page.writeUInt32BE(random.below(4) === 0 ? oddNumber(random, 32) : random.below(pageSize / 4), 4);
  for (let at = 8; at + 4 <= pageSize; at += 4) page.writeUInt32BE(random.below(most + 2), at);
  return page;
}

export function madeJournal(random: SeededRandom, page1: Buffer): Buffer {
  const pageSize = random.pick([512, 512, 1024, 4096]);
  const sectorSize = random.below(8) === 0 ? random.pick([32, 64, 4096]) : 512;
  const pages = random.below(8) === 0 ? oddNumber(random, 32) : 1 + random.below(30);
  const most = Math.min(pages, 30);
  const parts: Buffer[] = [];
  let length = 0;
  const add = (bytes: Buffer) => {
    parts.push(bytes);
    length += bytes.length;
  };
  for (let segments = 1 + random.below(3); segments > 0; segments--) {
    const records = random.below(10);
    const nonce = oddNumber(random, 32);
    const header = Buffer.alloc(sectorSize);
    const head = Buffer.alloc(28);
    MAGIC.copy(head);
    const counts = [records, records, 0, 0xffffffff, oddNumber(random, 32)];
    [random.pick(counts), nonce, pages, sectorSize, pageSize].forEach((value, i) => {
      head.writeUInt32BE(value, 8 + i * 4);
    });
    head.copy(header);
    add(header);
    for (let i = 0; i < records; i++) {
      const pgno =
        i === 0 ? 1 : random.below(8) === 0 ? oddNumber(random, 32) : 1 + random.below(most + 1);
      const page =
        pgno === 1 ? pageOne(random, page1, pageSize, most) : trunk(random, pageSize, most);
      const record = Buffer.alloc(pageSize + 8);
      record.writeUInt32BE(pgno, 0);
      page.copy(record, 4);
      record.writeUInt32BE(journalChecksum(nonce, page, 0, pageSize), pageSize + 4);
      add(record);
    }
    if (length % sectorSize > 0) add(Buffer.alloc(sectorSize - (length % sectorSize)));
  }
  if (random.below(4) === 0) add(superJournal(random));
  return Buffer.concat(parts);
}

/** The end that names a super-journal, with its sum. */
export function superJournal(random: SeededRandom): Buffer {
  const name =
    random.below(2) === 0 ? Buffer.from(oddText(random)) : noise(random, random.below(200));
  let sum = 0;
  for (const byte of name) sum += (byte << 24) >> 24;
  const tail = Buffer.alloc(16);
  const length = random.below(4) === 0 ? Number(BigInt.asUintN(32, edge(random))) : name.length;
  tail.writeUInt32BE(length, 0);
  tail.writeUInt32BE(sum >>> 0, 4);
  MAGIC.copy(tail, 8);
  return Buffer.concat([Buffer.alloc(4), name, tail]);
}

export const journal: Grammar = {
  name: 'journal',
  reads: 'rollback journals: segments, records, the freelist in them, super-journals',
  codes: [],
  bounds: PURE,
  isStateful: false,
  begin(folder) {
    const real = [journalDatabase(folder, 512, 'FULL'), journalDatabase(folder, 1024, 'OFF')];
    const journals = real.flatMap(({ journal: bytes }) => bytes ?? []);
    const page1 = real[0].db.subarray(0, 512);
    return {
      make(random) {
        const whole = random.below(2) === 0 ? madeJournal(random, page1) : random.pick(journals);
        const bytes = random.below(3) === 0 ? whole : mutate(random, whole, journals);
        const isThere = random.below(2) === 0;
        const leaf = trunk(random, random.pick([512, 1024]), 30);
        return {
          bytes: bytes.length,
          take() {
            const file = journalFile(bytes);
            const found = parseJournal(file, () => (isThere ? leaf : undefined));
            const originals = originalPages(file);
            const named = findSuperJournal(file);
            if (named) assert(named.offset >= 0 && named.name.length > 0);
            if (!found) return 'refused';
            assert.equal(originals?.pageSize, found.pageSize);
            for (const pgno of found.pageNumbers) {
              assert(pgno >= 1 && pgno <= found.originalPageCount);
            }
            for (const { offset } of originals?.pages ?? []) {
              assert(offset + found.pageSize <= bytes.length);
            }
            return 'value';
          },
        };
      },
      end() {},
    };
  },
};
