/** What the primary takes in from a replica that may write, and from one that may not. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, it, mock } from 'node:test';
import { FRAME_TYPES } from '../../../src/replication/frame.ts';
import { HaltLender } from '../../../src/replication/halt-lender.ts';
import {
  type Committed,
  decodeCommitted,
  encodeEntryBegin,
  encodeHalt,
  encodeName,
  encodeNamed,
  encodeNamedId,
  FEATURE_HALT,
  type Hello,
} from '../../../src/replication/messages.ts';
import type { FrameTransport } from '../../../src/replication/transport.ts';
import { NO_HALTS, settle } from './stand.ts';

const PEER = { hostname: 'box2', features: FEATURE_HALT } as Hello;
const AT = { txid: 1, checksum: 1n };

let spoolDir: string;
let lender: HaltLender;
let answers: Committed[];
let commit: PromiseWithResolvers<typeof AT>;

beforeEach(() => {
  spoolDir = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-test-'));
  answers = [];
  commit = Promise.withResolvers();
  const transport = {
    send(name: string, payload: Buffer) {
      if (name === 'COMMITTED') answers.push(decodeCommitted(payload));
    },
  };
  lender = new HaltLender({
    transport: transport as unknown as FrameTransport,
    halts: { ...NO_HALTS, lend: async () => AT, commit: () => commit.promise },
    mayWrite: () => true,
    spoolDir,
    committed() {},
  });
});
afterEach(() => {
  lender.close();
  fs.rmSync(spoolDir, { recursive: true, force: true });
});

function frame(name: keyof typeof FRAME_TYPES, ...payload: Uint8Array[]): void {
  assert(lender.frame(FRAME_TYPES[name], Buffer.concat(payload), PEER));
}

function begin(): void {
  frame('ENTRY_BEGIN', encodeEntryBegin('a.db', 3));
  frame('ENTRY_CHUNK', ...encodeNamed('a.db', Buffer.from('abc')));
}

const spooled = () => fs.readdirSync(spoolDir).length;

it('keeps nothing of who does not hold the lock', () => {
  begin();
  assert.equal(spooled(), 0);
  frame('ENTRY_END', encodeName('a.db'));
  frame('ENTRY', ...encodeNamed('a.db', Buffer.from('abc')));
  assert.equal(answers.length, 2);
  for (const { error } of answers) assert.match(error, /the halt lock of a\.db is not held/);
});

it('keeps a transaction only as long as the lock is held, or it is being committed', async () => {
  frame('HALT', encodeHalt({ database: 'a.db', id: 1, waitMs: 0 }));
  begin();
  assert.equal(spooled(), 0, 'it is asked for only');
  await settle(2);
  begin();
  assert.equal(spooled(), 1);
  frame('UNHALT', encodeNamedId('a.db', 1));
  assert.equal(spooled(), 0);

  frame('HALT', encodeHalt({ database: 'a.db', id: 2, waitMs: 0 }));
  await settle(2);
  begin();
  frame('ENTRY_END', encodeName('a.db'));
  assert.equal(spooled(), 1);
  commit.resolve(AT);
  await settle(2);
  assert.equal(spooled(), 0);
  assert.deepEqual(answers, [{ database: 'a.db', position: AT, error: '' }]);
});

it('takes one transaction at a time', async () => {
  frame('HALT', encodeHalt({ database: 'a.db', id: 1, waitMs: 0 }));
  await settle(2);
  begin();
  frame('ENTRY', ...encodeNamed('a.db', Buffer.from('abc')));
  for (const again of [
    () => begin(),
    () => frame('ENTRY_END', encodeName('a.db')),
    () => frame('ENTRY', ...encodeNamed('a.db', Buffer.from('abc'))),
  ]) {
    assert.throws(again, { code: 'PROTOCOL' });
  }
  lender.close();
  assert.equal(spooled(), 0);
});

it('ends nothing when the disk does not let a file be removed', async () => {
  frame('HALT', encodeHalt({ database: 'a.db', id: 7, waitMs: 0 }));
  await settle();
  begin();
  const remove = mock.method(fs, 'rmSync', () => {
    throw Object.assign(new Error('EROFS: read-only file system'), { errno: -30, code: 'EROFS' });
  });
  try {
    frame('ENTRY_END', encodeName('a.db'));
    commit.resolve(AT);
    await settle();
    assert.deepEqual(answers, [{ database: 'a.db', position: AT, error: '' }]);
    begin();
    lender.close();
    assert.equal(remove.mock.callCount(), 2);
  } finally {
    remove.mock.restore();
  }
});
