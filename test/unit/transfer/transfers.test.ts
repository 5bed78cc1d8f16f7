/** Transfers whose process cannot be started, or ends without a word. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { mock, test } from 'node:test';
import { LiteFsError } from '../../../src/errors.ts';
import { Transfers } from '../../../src/transfer/transfers.ts';
import { withFolder } from '../os/folder.ts';

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

test('an export to a client that takes nothing is given up', () =>
  withFolder(async (dir) => {
    mock.timers.enable({ apis: ['setTimeout'] });
    try {
      const startProcess = () => {
        const send = ({ to }: { to: string }) => {
          fs.writeFileSync(to, Buffer.alloc(2 ** 20));
          process.nextTick(() => {
            child.emit('message', { bytes: 2 ** 20 });
            child.emit('close', 0);
          });
          return true;
        };
        const child = Object.assign(new EventEmitter(), { pid: 1, send });
        return child as unknown as ChildProcess;
      };
      const transfers = new Transfers({ mountDir: dir, spoolDir: dir, startProcess });
      const taken = Promise.withResolvers<void>();
      const stuck = () => new Writable({ write: () => taken.resolve() });
      const given = transfers.export('a.db', stuck, new AbortController().signal);
      await taken.promise;
      mock.timers.tick(60_000);
      await assert.rejects(given, { code: 'PEER_UNREACHABLE', message: /nothing more was taken/ });
      assert.deepEqual(fs.readdirSync(dir), []);
    } finally {
      mock.timers.reset();
    }
  }));

test('an import that nothing more is sent of is given up, and until then only four are taken', () =>
  withFolder(async (dir) => {
    mock.timers.enable({ apis: ['setTimeout'] });
    try {
      const startProcess = () => assert.fail('it has come as a whole');
      const transfers = new Transfers({ mountDir: dir, spoolDir: dir, startProcess });
      const { signal } = new AbortController();
      const begin = () => {
        const source = new PassThrough();
        source.write('half of it');
        return transfers.import('a.db', source, signal);
      };
      const begun = Array.from({ length: 4 }, begin).map((each) =>
        assert.rejects(each, { code: 'PEER_UNREACHABLE', message: /nothing more was sent/ }),
      );
      await assert.rejects(begin(), { code: 'WRONG_STATE', message: /4 transfers are under way/ });
      while (fs.readdirSync(dir).length < 4) await new Promise(setImmediate);
      mock.timers.tick(60_000);
      await Promise.all(begun);
      assert.deepEqual(fs.readdirSync(dir), []);
    } finally {
      mock.timers.reset();
    }
  }));

test('an import that the disk does not take leaves its sender to be told so', () =>
  withFolder(async (dir) => {
    const startProcess = () => assert.fail('it has come as a whole');
    const spoolDir = path.join(dir, 'is not there');
    const transfers = new Transfers({ mountDir: dir, spoolDir, startProcess });
    const source = new PassThrough();
    source.write('half of it');
    const importing = transfers.import('a.db', source, new AbortController().signal);
    await assert.rejects(importing);
    assert.equal(source.destroyed, false);
  }));
