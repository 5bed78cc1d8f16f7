/** A restore in place, and what applications wait for meanwhile. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type RestoreParts, restoreInto } from '../../../src/daemon/restore.ts';
import { LiteFsError } from '../../../src/errors.ts';

const POSITION = { txid: 7, checksum: 1n };
const REPORT = { name: 'app.db', txid: '0000000000000007' };

describe('a restore in place', () => {
  /** `increment`: what the archive does when it is asked for the n-th time. */
  function stand(increment: (count: number) => Promise<typeof REPORT>) {
    const done: string[] = [];
    let count = 0;
    const parts = {
      engine: {
        call: async (call: string) => {
          done.push(call);
          return call === 'rewriteBegin' ? { rewrite: 1 } : { txid: 8, checksum: 2n };
        },
        callIfAlive: async (call: string) => void done.push(call),
      },
      halts: {
        lend: async () => {
          done.push('lock');
          return POSITION;
        },
        takeBack: async () => void done.push('unlock'),
      },
      snapshots: {
        dir: '/backups',
        increment: () => {
          done.push('archive');
          return increment(++count);
        },
      },
      archiveMsMax: 5,
    } as unknown as RestoreParts;
    const restored = () => restoreInto(parts, 'app.db', 'image', new AbortController().signal);
    return { done, restored };
  }

  it('gives the lock back while the archive is at work on something else', async () => {
    let free = () => {};
    const busy = new Promise<typeof REPORT>((resolve) => {
      free = () => resolve(REPORT);
    });
    const { done, restored } = stand(async (count) => {
      if (count === 2) free();
      return count < 3 ? busy : REPORT;
    });
    const { undoTxid, dir } = await restored();
    assert.deepEqual([undoTxid, dir], ['0000000000000007', '/backups']);
    assert.deepEqual(done, [
      'rewriteBegin',
      ...['lock', 'archive', 'unlock'],
      'archive',
      ...['lock', 'archive', 'rewriteFinish', 'unlock'],
      'rewriteClose',
    ]);
  });

  for (const [what, increment, message] of [
    [
      'fails',
      async () => {
        throw new LiteFsError('DISK', 'it is full');
      },
      /^the last commits could not be kept: it is full$/,
    ],
    [
      'lacks some',
      async () => ({ ...REPORT, txid: '0000000000000006' }),
      /^the last commits could not be kept: the archive ends at 0000000000000006, not at 0000000000000007/,
    ],
  ] as const) {
    it(`changes nothing when the archive ${what}`, async () => {
      const { done, restored } = stand(increment);
      await assert.rejects(restored(), { code: 'DISK', message });
      assert.deepEqual(done.slice(-2), ['unlock', 'rewriteClose']);
      assert(!done.includes('rewriteFinish'));
    });
  }
});
