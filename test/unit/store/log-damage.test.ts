/** What a crash or a bad disk leaves of a log, and what the next start makes of it. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { TransactionLog } from '../../../src/store/log.ts';
import { writeMerged } from './ltx-chain.ts';
import { withLog } from './with-log.ts';

const SEGMENT = '0000000000000001.seg';

test('a segment cut anywhere keeps the entries before the cut, and the log goes on behind them', () =>
  fc.assert(
    fc.asyncProperty(fc.nat(), (cut) =>
      withLog(({ log, dir, append, reopen }) => {
        const all = append(4);
        const file = path.join(dir, SEGMENT);
        const ends = log.entriesAfter(0).map(({ offset, length }) => offset + length);
        const size = cut % ends[3];
        fs.truncateSync(file, size);

        const { log: again, warnings } = reopen({ died: true });
        const whole = ends.filter((end) => end <= size).length;
        assert.equal(again.entryCount, whole);
        assert.equal(fs.statSync(file).size, whole === 0 ? 0 : ends[whole - 1]);
        assert.equal(warnings.length, size === (ends[whole - 1] ?? 0) ? 0 : 1);

        const { bytes, header, post } = all[whole];
        again.append(bytes, header, post, 0);
        assert.equal(reopen({ died: true }).log.last?.maxTxid, whole + 1);
      }),
    ),
    { numRuns: 50 },
  ));

test('an entry that never reached the disk ends the segment', () =>
  withLog(({ log, dir, append, reopen }) => {
    append(3);
    const third = log.entriesAfter(2)[0];
    const bytes = fs.readFileSync(path.join(dir, SEGMENT));
    bytes.fill(0, third.offset, third.offset + third.length);
    fs.writeFileSync(path.join(dir, SEGMENT), bytes);
    const { log: again, warnings } = reopen({ died: true });
    assert.equal(again.last?.maxTxid, 2);
    assert.match(warnings.join(), /were cut off/);
  }));

test('a large file cut anywhere is set aside', () =>
  withLog(({ dir, chain, reopen }) => {
    const one = chain.next();
    const file = path.join(dir, '0000000000000001-0000000000000001.ltx');
    for (let size = 0; size < one.bytes.length; size++) {
      fs.writeFileSync(file, one.bytes.subarray(0, size));
      const { log, warnings } = reopen();
      assert.equal(log.entryCount, 0, `of ${one.bytes.length} bytes, ${size}`);
      assert.match(warnings.join(), /is damaged and was set aside/);
      assert(fs.existsSync(`${file}.damaged`));
    }
    fs.writeFileSync(file, one.bytes);
    assert.deepEqual(reopen().log.last?.post, one.post);
  }));

test('temporary files go, other files stay', () =>
  withLog(({ dir, append, reopen }) => {
    append(1);
    fs.writeFileSync(path.join(dir, 'x.tmp'), 'half');
    fs.writeFileSync(path.join(dir, 'notes'), 'mine');
    const { warnings } = reopen();
    assert.deepEqual(fs.readdirSync(dir).sort(), [SEGMENT, 'notes']);
    assert.deepEqual(warnings, []);
  }));

test('a crash after a merge and before what it replaces is gone: the merged file counts', () =>
  withLog(({ log, dir, append, reopen }) => {
    const first = append(2);
    log.seal();
    const second = append(2);
    log.seal();
    append(1);
    writeMerged(path.join(dir, '0000000000000001-0000000000000004.ltx'), first[0], second[1]);
    const { log: again, warnings } = reopen({ died: true });
    assert.deepEqual(
      again.entriesAfter(0).map(({ minTxid, maxTxid }) => [minTxid, maxTxid]),
      [
        [1, 4],
        [5, 5],
      ],
    );
    assert.deepEqual(warnings, []);
    assert.deepEqual(fs.readdirSync(dir).sort(), [
      '0000000000000001-0000000000000004.ltx',
      '0000000000000005.seg',
    ]);
  }));

test('a file that is no LTX is set aside, and said', () =>
  withLog(({ dir, append, reopen }) => {
    append(1);
    const name = '0000000000000002-0000000000000002.ltx';
    fs.writeFileSync(path.join(dir, name), '');
    const { log, warnings } = reopen();
    assert.equal(log.last?.maxTxid, 1);
    assert.equal(warnings.length, 1);
    assert.match(warnings[0], /is damaged and was set aside/);
    assert.deepEqual(fs.readdirSync(dir).sort(), [SEGMENT, `${name}.damaged`]);
  }));

test('what comes before a gap is set aside: the log is the newest chain', () =>
  withLog(({ log, dir, append, reopen }) => {
    for (let i = 0; i < 3; i++) {
      append(1);
      log.seal();
    }
    fs.rmSync(path.join(dir, '0000000000000002.seg'));
    const { log: again, warnings } = reopen();
    assert.deepEqual([again.first?.minTxid, again.last?.maxTxid], [3, 3]);
    assert.match(warnings.join(), /gap before transaction 3/);
    assert.deepEqual(fs.readdirSync(dir).sort(), [`${SEGMENT}.orphan`, '0000000000000003.seg']);
  }));

test('what cannot be read is cut off: the entries before it stay, also over the next start', () =>
  withLog(({ log, append }) => {
    const entries = append(4);
    log.cutAfter(2);
    assert.equal(log.last?.maxTxid, 2);
    assert.equal(log.read(entries[1].post, 1).kind, 'entries');
    log.close();
    const again = TransactionLog.open(log.dir, (message) => assert.fail(message));
    assert.equal(again.last?.maxTxid, 2);
    assert.deepEqual(again.last?.post, entries[1].post);
    again.close();
  }));
