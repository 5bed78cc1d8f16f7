/** What a disk that fails does to the snapshot thread: whichever call it is, the task says so, and the node goes on. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it, mock } from 'node:test';
import { LiteFsError } from '../../../src/errors.ts';
import { CHECKSUM_FLAG, pageChecksum } from '../../../src/kernels/checksum.ts';
import { snapshotTasks } from '../../../src/snapshots/tasks.ts';
import { withFolder } from '../os/folder.ts';
import { LtxChain } from '../store/ltx-chain.ts';

const CALLS = [
  'openSync',
  'readSync',
  'writeSync',
  'closeSync',
  'fsyncSync',
  'futimesSync',
  'fstatSync',
  'statSync',
  'readdirSync',
  'mkdirSync',
  'renameSync',
  'rmSync',
  'ftruncateSync',
] as const;
const KEEP = { last: 1, hourly: 0, daily: 0, weekly: 0, monthly: 0, withinMs: 0 };
const PAGE = Buffer.alloc(512, 'x');

type Call = (...args: unknown[]) => unknown;

/** Has one call of the file system fail, and all after it when the disk is `gone`. Returns how many there were. */
function failAt(which: number, gone: boolean, body: () => void): number {
  const functions = fs as unknown as Record<string, Call>;
  const real = Object.fromEntries(CALLS.map((name) => [name, functions[name]]));
  const done: Record<string, Call> = { ...real, fsyncSync: () => undefined };
  let count = 0;
  for (const name of CALLS) {
    functions[name] = (...args) => {
      const at = count++;
      const fails = gone ? at >= which : at === which;
      // A file is closed, whatever is said of it.
      const result = !fails || name === 'closeSync' ? done[name](...args) : undefined;
      if (!fails) return result;
      throw Object.assign(new Error(`EIO: i/o error, ${name}`), { code: 'EIO', errno: -5 });
    };
  }
  try {
    body();
  } finally {
    Object.assign(functions, real);
  }
  return count;
}

describe('a disk that fails', () => {
  /** All that the thread does to an archive; what was thrown. */
  function everything(folder: string): unknown[] {
    const tasks = snapshotTasks();
    const archive = path.join(folder, 'app.db');
    const thrown: unknown[] = [];
    const attempt = <T>(task: () => T): T | undefined => {
      try {
        return task();
      } catch (error) {
        thrown.push(error);
        return undefined;
      }
    };
    const chain = new LtxChain();
    const position = { txid: 1, checksum: pageChecksum(1, PAGE) | CHECKSUM_FLAG };
    const base = { position, pageSize: 512, pageCount: 1, timestampMs: 1, compress: true };
    const records = Buffer.concat([Buffer.from('00000001', 'hex'), PAGE]);
    attempt(() => tasks.open({ archive }));
    const snapshot = attempt(() => tasks.begin({ archive, base }));
    if (snapshot !== undefined) {
      attempt(() => tasks.pages({ snapshot, records }));
      const file = attempt(() =>
        tasks.finish({
          snapshot,
          entries: [],
          end: position,
          check: 'quick',
          scratchDir: folder,
          nowMs: 0,
        }),
      );
      if (!file) attempt(() => tasks.abort({ snapshot }));
    }
    chain.next();
    for (let count = 0; count < 2; count++) {
      const entries = [{ bytes: chain.next({ timestampMs: 2 }).bytes }];
      attempt(() => tasks.increment({ archive, entries, compress: true }));
    }
    const rules = { keep: KEEP, nowMs: 3_600_000, timezone: 'UTC', compress: true };
    attempt(() => tasks.tidy({ archive, ...rules }));
    attempt(() => tasks.list({ archive }));
    attempt(() => tasks.retire({ archive, to: path.join(folder, 'former') }));
    return thrown;
  }

  it('that is full is freed by what may be removed', () =>
    withFolder((folder) => {
      const tasks = snapshotTasks();
      const archive = path.join(folder, 'app.db');
      const snapshotAt = (txid: number, timestampMs: number) => {
        const position = { txid, checksum: pageChecksum(1, PAGE) | CHECKSUM_FLAG };
        const base = { position, pageSize: 512, pageCount: 1, timestampMs, compress: true };
        const snapshot = tasks.begin({ archive, base });
        tasks.pages({ snapshot, records: Buffer.concat([Buffer.from('00000001', 'hex'), PAGE]) });
        tasks.finish({
          snapshot,
          entries: [],
          end: position,
          check: 'off',
          scratchDir: folder,
          nowMs: 0,
        });
      };
      const chain = new LtxChain();
      for (let txid = 1; txid <= 2; txid++) {
        chain.next();
        snapshotAt(txid, txid * 1000);
      }
      for (let count = 0; count < 2; count++) {
        const entries = [{ bytes: chain.next({ timestampMs: 3_000_000 }).bytes }];
        tasks.increment({ archive, entries, compress: true });
      }
      const names = () =>
        tasks.list({ archive }).map(({ level, maxTxid }) => `${level}:${maxTxid}`);
      assert.deepEqual(names(), ['9:1', '9:2', '0:3', '0:4']);
      const rules = { keep: KEEP, nowMs: 3_600_000, timezone: 'UTC', compress: true };
      const full = mock.method(fs, 'writeSync', () => {
        throw Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC', errno: -28 });
      });
      try {
        assert.throws(() => tasks.tidy({ archive, ...rules }), { code: 'DISK', message: /ENOSPC/ });
      } finally {
        full.mock.restore();
      }
      assert.deepEqual(names(), ['9:2', '0:3', '0:4']);
    }));

  for (const gone of [false, true]) {
    it(`${gone ? 'for good' : 'once'} is named, whatever it fails at`, () =>
      withFolder((folder) => {
        const calls = failAt(Number.POSITIVE_INFINITY, gone, () => {
          assert.deepEqual(everything(path.join(folder, 'whole')), []);
        });
        let named = 0;
        for (let which = 0; which < calls; which += gone ? 3 : 1) {
          const own = path.join(folder, `${which}`);
          fs.mkdirSync(own);
          let thrown: unknown[] = [];
          failAt(which, gone, () => {
            thrown = everything(own);
          });
          for (const error of thrown) {
            assert(error instanceof LiteFsError, `call ${which}: ${(error as Error).stack}`);
            if (/EIO: i\/o error/.test(error.message)) named++;
            assert(error.code !== 'DISK' || error.message.includes(own), error.message);
          }
        }
        assert(calls > 50, `${calls} calls`);
        assert(named > 30, `${named} named`);
      }));
  }
});
