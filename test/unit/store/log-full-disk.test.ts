/** A disk that fails to flush: what was appended is in the log, and nothing stays open. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { type TestContext, test } from 'node:test';
import { withLog } from './with-log.ts';

const SEGMENT_BYTES_MAX = 4 << 20;

function failToFlush(t: TestContext): void {
  t.mock.method(fs, 'fdatasyncSync', () => {
    throw Object.assign(new Error('EIO: i/o error, fdatasync'), { errno: -5, code: 'EIO' });
  });
}

/** The files of the log that this process has open. */
function openFiles(dir: string): string[] {
  return fs.readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const file = fs.readlinkSync(`/proc/self/fd/${fd}`);
      return file.startsWith(dir) ? [file] : [];
    } catch {
      return []; // the descriptor of the listing itself
    }
  });
}

test('a full segment that cannot be flushed does not make the append fail', (t) =>
  withLog(({ log, chain, dir, reopen, warnings }) => {
    failToFlush(t);
    const { header, bytes, post } = chain.next();
    const padded = Buffer.concat([bytes, Buffer.alloc(SEGMENT_BYTES_MAX)]);
    log.append(padded, header, post, 0);
    assert.equal(log.last?.maxTxid, 1);
    assert.match(warnings.join(), /could not be flushed: EIO/);
    assert.deepEqual(openFiles(dir), []);

    t.mock.restoreAll();
    const second = chain.next();
    log.append(second.bytes, second.header, second.post, 0);
    assert.equal(reopen().log.last?.maxTxid, 2);
  }));

test('a segment that cannot be flushed is closed, and the log goes on in another', (t) =>
  withLog(({ log, append, dir }) => {
    append(2);
    failToFlush(t);
    assert.throws(() => log.seal(), { code: 'EIO' });
    assert.equal(log.isOpen, false);
    assert.deepEqual(openFiles(dir), []);
    append(1);
    t.mock.restoreAll();
    assert.equal(log.last?.maxTxid, 3);
    assert.equal(log.files().length, 2);
  }));
