import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { LiteFsError } from '../../../src/errors.ts';
import type { ArchiveFile } from '../../../src/snapshots/archive-file.ts';
import {
  planRestore,
  restorePoints,
  restoreRanges,
  unreachedFiles,
} from '../../../src/snapshots/plan.ts';

/** The timestamp of a transaction is a hundred times its number. */
function file(level: number, minTxid: number, maxTxid: number, bytes = 1): ArchiveFile {
  return { level, minTxid, maxTxid, timestampMs: maxTxid * 100, bytes };
}

const named = (files: readonly ArchiveFile[]) =>
  files.map(({ level, minTxid, maxTxid }) => `${level}:${minTxid}-${maxTxid}`).join(' ');

describe('the plan of a restore', () => {
  const files = [
    file(9, 1, 3),
    file(0, 4, 4),
    file(0, 5, 6),
    file(0, 7, 7),
    file(1, 4, 7, 2),
    file(9, 1, 6),
    // A gap: 8 and 9 are lost.
    file(9, 1, 10),
    file(0, 11, 11),
  ];

  for (const [target, expected] of [
    [{ kind: 'latest' }, '9:1-10 0:11-11'],
    [{ kind: 'txid', txid: 3 }, '9:1-3'],
    [{ kind: 'txid', txid: 4 }, '9:1-3 0:4-4'],
    [{ kind: 'txid', txid: 7 }, '9:1-6 0:7-7'],
    [{ kind: 'time', timeMs: 699 }, '9:1-6'],
    [{ kind: 'time', timeMs: 700 }, '9:1-6 0:7-7'],
    [{ kind: 'time', timeMs: 999 }, '9:1-6 0:7-7'],
  ] as const) {
    it(`to ${JSON.stringify(target)} is ${expected}`, () => {
      assert.equal(named(planRestore(files, target).files), expected);
    });
  }

  for (const [target, message, hint] of [
    [{ kind: 'txid', txid: 8 }, /^no files make the state at 0{15}8$/, /0{15}7 .* and 0{15}a /],
    [{ kind: 'txid', txid: 5 }, /^no files make/, /0{15}4 .* and 0{15}6 /],
    [{ kind: 'time', timeMs: 299 }, /^nothing that old is kept/, /0{15}3 /],
  ] as const) {
    it(`to ${JSON.stringify(target)} is none`, () => {
      assert.throws(
        () => planRestore(files, target),
        (error) =>
          error instanceof LiteFsError &&
          error.code === 'RESTORE_POINT' &&
          message.test(error.message) &&
          hint.test(error.hint ?? ''),
      );
    });
  }

  it('does without a file when others say the same', () => {
    const without = files.filter(({ level, maxTxid }) => level !== 0 || maxTxid !== 7);
    assert.equal(named(planRestore(without, { kind: 'txid', txid: 7 }).files), '9:1-6 1:4-7');
  });

  it('shows points, and stretches without a gap', () => {
    assert.deepEqual(
      restorePoints(files).map(({ txid }) => txid),
      [3, 4, 6, 7, 10, 11],
    );
    const ranges = restoreRanges(files).map(({ first, last, points }) => [
      first.txid,
      last.txid,
      points,
    ]);
    assert.deepEqual(ranges, [
      [3, 7, 4],
      [10, 11, 2],
    ]);
    assert.deepEqual(restoreRanges([]), []);
  });

  it('names what nothing leads to, but not where states were lost before a snapshot', () => {
    assert.deepEqual(unreachedFiles(files), []);
    const without = files.filter(({ maxTxid }) => maxTxid !== 6 && maxTxid !== 10);
    const found = unreachedFiles(without.filter(({ level }) => level !== 1));
    assert.deepEqual(
      found.map(({ file, reached }) => [named([file]), reached]),
      [
        ['0:7-7', 4],
        ['0:11-11', 4],
      ],
    );
  });

  it('shows no gap where a snapshot lies within an increment', () => {
    const increments = [file(0, 2, 100), ...[101, 111, 121, 131].map((at) => file(0, at, at + 9))];
    const shown = (some: readonly ArchiveFile[]) =>
      restoreRanges(some).map(({ first, last, points, files: count }) => [
        first.txid,
        last.txid,
        points,
        count,
      ]);
    const all = [file(9, 1, 1), file(9, 1, 125), ...increments];
    assert.deepEqual(shown(all), [[1, 140, 7, 7]]);
    // Without the increment around it there is one.
    const without = all.filter(({ minTxid }) => minTxid !== 121);
    assert.deepEqual(shown(without), [
      [1, 120, 4, 4],
      [125, 125, 1, 1],
    ]);
  });

  it('makes exactly the points it shows, with files that follow one another', () => {
    const anyFile = fc
      .record({ level: fc.constantFrom(0, 1, 2, 9), min: fc.nat(30), length: fc.nat(8) })
      .map(({ level, min, length }) =>
        file(level, level === 9 ? 1 : min + 1, (level === 9 ? min : min + length) + 1, length + 1),
      );
    fc.assert(
      fc.property(fc.array(anyFile, { maxLength: 25 }), (some) => {
        for (let txid = 1; txid <= 40; txid++) {
          const isShown = restorePoints(some).some((point) => point.txid === txid);
          const plan = attempt(() => planRestore(some, { kind: 'txid', txid }));
          assert.equal(plan !== undefined, isShown, `transaction ${txid}`);
          if (!plan) continue;
          let reached = 0;
          for (const [index, { minTxid, maxTxid }] of plan.files.entries()) {
            assert(index === 0 ? minTxid === 1 : minTxid <= reached + 1 && maxTxid > reached);
            reached = maxTxid;
          }
          assert.equal(reached, txid);
        }
      }),
    );
  });
});

function attempt<T>(use: () => T): T | undefined {
  try {
    return use();
  } catch (error) {
    assert(error instanceof LiteFsError);
    return undefined;
  }
}
