/** Transfers whose process cannot be started, or ends without a word. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';
import path from 'node:path';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { LiteFsError } from '../../../src/errors.ts';
import { Transfers } from '../../../src/transfer/transfers.ts';

async function exportBy(startProcess: () => ChildProcess): Promise<unknown> {
  const spoolDir = path.join('/nowhere', 'spool');
  const transfers = new Transfers({ mountDir: '/nowhere', spoolDir, startProcess });
  const nobody = new AbortController().signal;
  return transfers
    .export('a.db', () => new Writable(), nobody)
    .then(
      () => assert.fail('it cannot go well'),
      (error) => error,
    );
}

function refused(error: unknown, why: RegExp): void {
  assert(error instanceof LiteFsError, String(error));
  assert.equal(error.code, 'WRONG_STATE');
  assert.match(error.message, why);
}

test('a process that the system refuses at once is an error of the outside world', async () => {
  const error = await exportBy(() => {
    throw Object.assign(new Error('spawn ENOMEM'), { errno: -12 });
  });
  refused(error, /no process can be started.*ENOMEM/);
});

test('so is one that is refused as an event, without a channel', async () => {
  const error = await exportBy(() => {
    const child = new EventEmitter() as ChildProcess;
    process.nextTick(() => child.emit('error', new Error('spawn EMFILE')));
    return child;
  });
  refused(error, /no process can be started.*EMFILE/);
});

test('one that ends without a word is named with how it ended', async () => {
  const error = await exportBy(() => {
    const child = Object.assign(new EventEmitter(), { pid: 1, send: () => true });
    process.nextTick(() => child.emit('close', null, 'SIGKILL'));
    return child as unknown as ChildProcess;
  });
  refused(error, /was ended by SIGKILL/);
});
