/**
 * Journals that a user made, to have the engine read for ever: on 0cf578f a trunk of the freelist that led to itself filled the
 * memory of the node, and one trunk after the other from the end to the beginning took 20 s for 120,000 records.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseJournal } from '../../../src/sqlite/journal.ts';
import { encodeJournalHeader, encodeJournalRecord } from '../../../src/sqlite/journal-write.ts';
import { journalFile } from './fixtures.ts';

const PAGE = 512;
const NONCE = 7;
/** Of all that is looked at for one trunk, were there no order. */
const MS_MAX = 5000;

/** Page 1, whose freelist begins with `first` and has any number of pages. */
function pageOne(first: number): Buffer {
  const page = Buffer.alloc(PAGE);
  page.write('SQLite format 3\0', 'latin1');
  page.writeUInt16BE(PAGE, 16);
  page.writeUInt32BE(first, 32);
  page.writeUInt32BE(0xffffffff, 36);
  return page;
}

function trunk(next: number, leaves: readonly number[] = []): Buffer {
  const page = Buffer.alloc(PAGE);
  [next, leaves.length, ...leaves].forEach((word, i) => {
    page.writeUInt32BE(word, i * 4);
  });
  return page;
}

function journalOf(pages: readonly (readonly [number, Buffer])[]) {
  const header = {
    recordCount: pages.length,
    nonce: NONCE,
    originalPageCount: 1e6,
    pageSize: PAGE,
  };
  const records = pages.map(([pgno, page]) => encodeJournalRecord(NONCE, pgno, page));
  return parseJournal(journalFile(Buffer.concat([encodeJournalHeader(header), ...records])));
}

for (const length of [1, 2, 5]) {
  test(`a freelist that leads back into itself after ${length} trunks ends there`, () => {
    const trunks = Array.from({ length }, (_, i) => {
      const next = i + 1 === length ? 2 : i + 3;
      return [i + 2, trunk(next, [100 + i])] as const;
    });
    const journal = journalOf([[1, pageOne(2)], ...trunks]);
    assert.equal(journal?.reliable, false);
    const wanted = [1, ...trunks.map(([pgno]) => pgno), ...trunks.map((_, i) => 100 + i)];
    assert.deepEqual([...(journal?.pageNumbers ?? [])], wanted);
  });
}

test('a freelist from the end of the journal to its beginning is read in the time of its records', () => {
  const most = 120_000;
  const trunks = Array.from(
    { length: most },
    (_, i) => [i + 2, trunk(i === 0 ? 0 : i + 1)] as const,
  );
  const startedMs = performance.now();
  const journal = journalOf([[1, pageOne(most + 1)], ...trunks]);
  assert.equal(journal?.reliable, true);
  assert.equal(journal?.pageNumbers.length, most + 1);
  assert(performance.now() - startedMs < MS_MAX);
});
