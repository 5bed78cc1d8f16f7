/** The log of transactions: what is appended is there again, by position, and after the next start. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { TransactionLog } from '../../../src/store/log.ts';
import { LtxChain } from './ltx-chain.ts';
import { withLog } from './with-log.ts';

test('what follows a position comes back, oldest first, byte for byte', () =>
  withLog(({ log, append }) => {
    const [first, second, third] = append(3);
    const slice = log.read(first.post, 1 << 20);
    assert.equal(slice.kind, 'entries');
    const read = slice.kind === 'entries' ? slice.entries : [];
    assert.deepEqual(
      read.map(({ minTxid, pre, post }) => ({ minTxid, pre, post })),
      [
        { minTxid: 2, pre: first.post, post: second.post },
        { minTxid: 3, pre: second.post, post: third.post },
      ],
    );
    assert.deepEqual(read.map(bytesOf), [second.bytes, third.bytes]);
    assert.deepEqual(log.read(third.post, 1), { kind: 'entries', entries: [] });
  }));

test('a read stops after the size that was asked for, and gives at least one entry', () =>
  withLog(({ log, append }) => {
    const [first] = append(4);
    const start = { txid: 0, checksum: 0n };
    const lengths = [1, first.bytes.length, first.bytes.length + 1, 1 << 20].map((bytesMax) => {
      const slice = log.read(start, bytesMax);
      return slice.kind === 'entries' ? slice.entries.length : slice.reason;
    });
    assert.deepEqual(lengths, [1, 1, 2, 4]);
  }));

test('positions that the log does not pass through are told apart', () =>
  withLog(({ log, append }) => {
    assert.equal(log.contains({ txid: 0, checksum: 0n }), false, 'an empty log knows nothing');
    const [first, second] = append(2);
    assert(log.contains({ txid: 0, checksum: 0n }));
    assert(log.contains(first.post));
    assert(log.contains(second.post));
    const reason = (txid: number, checksum: bigint) => {
      const slice = log.read({ txid, checksum }, 1);
      return slice.kind === 'unavailable' ? slice.reason : 'available';
    };
    assert.match(reason(1, second.post.checksum), /another checksum/);
    assert.match(reason(2, first.post.checksum), /another checksum/);
    assert.match(reason(0, 5n), /another checksum/);
    assert.match(reason(3, second.post.checksum), /not in the log/);
  }));

test('an entry that does not follow is a bug, and leaves the log as it was', () =>
  withLog(({ log, append }) => {
    append(2);
    const stranger = new LtxChain();
    const { header, bytes, post } = stranger.next();
    assert.throws(() => log.append(bytes, header, post, 0), { name: 'AssertionError' });
    const wrongSum = { ...header, minTxid: 3, maxTxid: 3, preChecksum: 1n };
    assert.throws(() => log.append(bytes, wrongSum, post, 0), { name: 'AssertionError' });
    assert.equal(log.entryCount, 2);
  }));

test('a start finds the same entries, of segments and of files', () =>
  withLog(({ log, chain, append, folder, reopen }) => {
    append(2, { walOffset: 32 });
    const large = chain.next({ timestampMs: 1234 });
    const spilled = path.join(folder, 'spilled');
    fs.writeFileSync(spilled, large.bytes);
    log.appendFile(spilled, large.header, large.post);
    append(1);
    assert.deepEqual(log.files().map(nameOf), [
      '0000000000000001.seg',
      '0000000000000003-0000000000000003.ltx',
      '0000000000000004.seg',
    ]);
    const before = log.entriesAfter(0);
    const { log: again, warnings } = reopen();
    assert.deepEqual(again.entriesAfter(0), before);
    assert.deepEqual(warnings, []);
    assert.equal(again.isOpen, false);
  }));

test('after a start the log goes on in a segment of its own', () =>
  withLog(({ chain, append, reopen }) => {
    append(2);
    const { log } = reopen();
    const { header, bytes, post } = chain.next();
    const entry = log.append(bytes, header, post, 0);
    assert.equal(nameOf(entry.path), '0000000000000003.seg');
    assert.deepEqual(bytesOf(entry), bytes);
    assert.equal(log.entryCount, 3);
  }));

test('a segment is closed by age or size; one that stayed empty goes', () =>
  withLog(({ log, chain, append }) => {
    append(1, { timestampMs: 0 });
    log.sealIfOlder(9_999, 10_000);
    assert(log.isOpen);
    log.sealIfOlder(10_000, 10_000);
    assert(!log.isOpen);
    append(1);
    assert.equal(log.files().length, 2);

    const { header, bytes, post } = chain.next();
    const padded = Buffer.concat([bytes, Buffer.alloc(4 << 20)]);
    log.append(padded, header, post, 0);
    assert(!log.isOpen, 'four MiB are enough for one segment');
  }));

test('a failed append leaves the log as it was', () =>
  withLog(({ log, chain, append, folder }) => {
    const { header, bytes, post } = chain.next();
    const name = path.join(folder, 'log', '0000000000000001.seg');
    fs.mkdirSync(name);
    assert.throws(() => log.append(bytes, header, post, 0), { code: 'DISK' });
    assert.equal(log.entryCount, 0);
    fs.rmdirSync(name);
    log.append(bytes, header, post, 0);
    append(1);
    assert.equal(log.last?.maxTxid, 2);
  }));

test('a reset forgets all, and the next entry may begin anywhere', () =>
  withLog(({ log, chain, append, folder }) => {
    append(3);
    log.reset();
    assert.deepEqual(fs.readdirSync(path.join(folder, 'log')), []);
    assert.equal(log.bytes, 0);
    chain.next();
    append(1);
    assert.equal(log.first?.minTxid, 5);
    assert.equal(log.contains({ txid: 3, checksum: 1n }), false);
  }));

test('a log that nobody can write to is a DISK error', () =>
  withLog(({ log, chain }) => {
    const { header, post } = chain.next();
    assert.throws(() => log.appendFile('/nonexistent/spilled', header, post), { code: 'DISK' });
    assert.equal(log.entryCount, 0);
  }));

test('a folder that is not there yet is made', () =>
  withLog(({ folder }) => {
    const dir = path.join(folder, 'a', 'b');
    TransactionLog.open(dir, () => {}).close();
    assert(fs.statSync(dir).isDirectory());
  }));

function nameOf(file: string): string {
  return path.basename(file);
}

function bytesOf({ path: file, offset, length }: { path: string; offset: number; length: number }) {
  return fs.readFileSync(file).subarray(offset, offset + length);
}
