/** What keeps a log small: whole files go when they are old enough, neighbours are merged. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { TransactionLog } from '../../../src/store/log.ts';
import type { CompactionJob } from '../../../src/store/log-merge.ts';
import { type Transaction, writeMerged } from './ltx-chain.ts';
import { type LogStand, withLog } from './with-log.ts';

const ALL = Number.MAX_SAFE_INTEGER;
const ENTRIES_MIN = 2;

describe('retention', () => {
  /** Three segments of two entries each: at 10 and 10, 20 and 20, 30 and 30 ms. */
  const withThree = (body: (stand: LogStand) => void) =>
    withLog((stand) => {
      for (const timestampMs of [10, 20, 30]) {
        stand.log.seal();
        stand.append(2, { timestampMs });
      }
      body(stand);
    });
  const firstTxid = (log: TransactionLog) => log.first?.minTxid;

  it('removes whole files that are older than asked for', () =>
    withThree(({ log, dir }) => {
      assert.equal(log.trim(20, ALL, 0, ALL), 1);
      assert.equal(firstTxid(log), 3);
      assert.equal(log.trim(21, ALL, 0, ALL), 1);
      assert.equal(firstTxid(log), 5);
      assert.deepEqual(fs.readdirSync(dir), ['0000000000000005.seg']);
    }));

  it('keeps the last file, whatever its age', () =>
    withThree(({ log }) => {
      assert.equal(log.trim(1000, ALL, 1, ALL), 2);
      assert.equal(firstTxid(log), 5);
    }));

  it('has the caller do what must be done first, and keeps all when that fails', () =>
    withThree(({ log, dir }) => {
      const calls: number[] = [];
      log.trim(10, ALL, 0, ALL, () => calls.push(0));
      assert.equal(calls.length, 0, 'there was nothing to remove');
      const fail = () => assert.fail('the disk fails');
      assert.throws(() => log.trim(1000, ALL, 0, ALL, fail), /the disk fails/);
      assert.equal(firstTxid(log), 1);
      log.trim(1000, ALL, 0, ALL, () => calls.push(fs.readdirSync(dir).length));
      assert.deepEqual(calls, [3]);
      assert.equal(firstTxid(log), 5);
    }));

  it('keeps what a connected replica needs, and files that it needs in part', () =>
    withThree(({ log }) => {
      assert.equal(log.trim(1000, 1, 0, ALL), 0);
      assert.equal(log.trim(1000, 3, 0, ALL), 1);
      assert.equal(firstTxid(log), 3);
      assert.equal(log.trim(1000, 4, 0, ALL), 1);
      assert.equal(firstTxid(log), 5);
    }));

  it('gives up age and replicas when the log is too large, oldest first', () =>
    withThree(({ log }) => {
      const twoFiles = log.entriesAfter(2).reduce((bytes, { length }) => bytes + length, 0);
      assert.equal(log.trim(0, 0, twoFiles + 50, ALL), 1);
      assert.equal(firstTxid(log), 3);
    }));

  it('never gives up what the saved page checksums need', () =>
    withThree(({ log }) => {
      assert.equal(log.trim(1000, ALL, 1, 1), 0);
      assert.equal(log.trim(1000, ALL, 1, 2), 1);
      assert.equal(firstTxid(log), 3);
    }));

  it('leaves a position before the log unavailable', () =>
    withThree(({ log }) => {
      log.trim(1000, ALL, 0, ALL);
      const slice = log.read({ txid: 2, checksum: 1n }, 1);
      assert.equal(slice.kind === 'unavailable' && slice.reason, 'the log no longer has it');
    }));
});

describe('compaction', () => {
  it('takes neighbouring closed files, and not the one that grows', () =>
    withLog(({ log, append }) => {
      assert.equal(log.compactionJob(ENTRIES_MIN, 100, ALL), undefined, 'of an empty log');
      segments(log, append, [1, 2]);
      append(1);
      assert.deepEqual(txids(log.compactionJob(ENTRIES_MIN, 100, ALL)), [1, 2, 3]);
      assert.equal(log.compactionJob(4, 100, ALL), undefined, 'too few to be worth it');
    }));

  it('stops at the number of entries and at the size', () =>
    withLog(({ log, append }) => {
      segments(log, append, [2, 2, 2]);
      const one = log.entriesAfter(0)[0].length;
      assert.deepEqual(txids(log.compactionJob(ENTRIES_MIN, 4, ALL)), [1, 2, 3, 4]);
      assert.deepEqual(txids(log.compactionJob(ENTRIES_MIN, 100, 3 * one)), [1, 2]);
      assert.equal(log.compactionJob(ENTRIES_MIN, 100, one), undefined, 'each file is too large');
    }));

  it('does not merge over a drop or a change of the page size', () =>
    withLog(({ log, append }) => {
      append(1);
      append(1, { commit: 0 });
      log.seal();
      segments(log, append, [1, 1]);
      assert.deepEqual(txids(log.compactionJob(ENTRIES_MIN, 100, ALL)), [3, 4]);
      append(1, { pageSize: 1024 });
      log.seal();
      assert.deepEqual(txids(log.compactionJob(ENTRIES_MIN, 100, ALL)), [3, 4]);
    }));

  it('puts the merged file in the place of the others', () =>
    withLog(({ log, append, folder, dir, reopen }) => {
      const all = segments(log, append, [2, 2, 1]);
      const job = log.compactionJob(ENTRIES_MIN, 4, ALL);
      merge(log, job, folder, all);
      assert.deepEqual(fs.readdirSync(dir), [
        '0000000000000001-0000000000000004.ltx',
        '0000000000000005.seg',
      ]);
      assert.deepEqual(
        log.entriesAfter(0).map(({ minTxid, maxTxid }) => [minTxid, maxTxid]),
        [
          [1, 4],
          [5, 5],
        ],
      );
      const middle = log.read(all[1].post, 1);
      assert.equal(middle.kind === 'entries' && middle.entries[0].minTxid, 1, 'it covers the rest');
      assert.deepEqual(reopen().log.entriesAfter(0), log.entriesAfter(0));
    }));

  it('of what is gone meanwhile is thrown away', () =>
    withLog(({ log, append, folder }) => {
      const all = segments(log, append, [2, 2, 1]);
      const job = log.compactionJob(ENTRIES_MIN, 4, ALL);
      log.trim(ALL, 2, 0, ALL);
      merge(log, job, folder, all);
      assert.deepEqual(
        log.entriesAfter(0).map(({ minTxid }) => minTxid),
        [3, 4, 5],
      );
      assert.deepEqual(fs.readdirSync(folder), ['log'], 'nothing is left of the merge');
    }));
});

it('any order of appends, merges, trims and starts leaves one chain, the same on disk', async () => {
  const step = fc.constantFrom('append', 'seal', 'merge', 'trim', 'die');
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), (steps) =>
      withLog(({ log: begun, chain, folder, reopen }) => {
        let log = begun;
        const all: Transaction[] = [];
        for (const what of steps) {
          if (what === 'append') {
            const transaction = chain.next({ timestampMs: all.length });
            all.push(transaction);
            log.append(transaction.bytes, transaction.header, transaction.post, 0);
          } else if (what === 'seal') log.seal();
          else if (what === 'merge') merge(log, log.compactionJob(2, 6, ALL), folder, all);
          else if (what === 'trim') log.trim(all.length - 4, ALL, 0, ALL);
          else {
            const again = reopen({ died: true });
            assert.deepEqual(again.warnings, []);
            assert.deepEqual(again.log.entriesAfter(0), log.entriesAfter(0));
            log = again.log;
          }
          assertChain(log, all);
        }
      }),
    ),
    { numRuns: 40 },
  );
});

/** Closed segments with so many entries each. */
function segments(log: TransactionLog, append: LogStand['append'], counts: readonly number[]) {
  return counts.flatMap((count) => {
    const appended = append(count);
    log.seal();
    return appended;
  });
}

function txids(job: CompactionJob | undefined): number[] | undefined {
  return job?.entries.map(({ minTxid }) => minTxid);
}

/** Does a job as the engine does: a file elsewhere, then in place. */
function merge(
  log: TransactionLog,
  job: CompactionJob | undefined,
  folder: string,
  all: readonly Transaction[],
): void {
  if (!job) return;
  const file = path.join(folder, 'merged');
  const first = all[job.entries[0].minTxid - 1];
  writeMerged(file, first, all[(job.entries.at(-1)?.maxTxid ?? 0) - 1]);
  log.replace(job, file);
}

/** From its first entry to the newest transaction, without a gap; read from any position in it. */
function assertChain(log: TransactionLog, all: readonly Transaction[]): void {
  const entries = log.entriesAfter(0);
  assert.equal(log.last?.maxTxid, all.at(-1)?.header.maxTxid);
  for (const [i, entry] of entries.entries()) {
    assert.deepEqual(entry.post, all[entry.maxTxid - 1].post);
    if (i > 0) assert.deepEqual(entry.pre, entries[i - 1].post);
    const slice = log.read(entry.pre, 1);
    assert.equal(slice.kind === 'entries' && slice.entries[0], entry);
  }
}
