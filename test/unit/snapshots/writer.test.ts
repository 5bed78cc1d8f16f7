/** Which node may write to a directory of archives, of several that are told to. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it, mock } from 'node:test';
import { archiveOf } from '../../../src/snapshots/archive.ts';
import { claimPlace, leavePlace, WRITER_FILE, type Writer } from '../../../src/snapshots/writer.ts';
import { withFolder } from '../os/folder.ts';
import { KeeperStand, POSITION, standForEach } from './keeper-stand.ts';

const MINUTE_MS = 60_000;
const BOX1: Writer = { cluster: 'c', node: '1', hostname: 'box1', run: 'r1' };
const BOX2: Writer = { cluster: 'c', node: '2', hostname: 'box2', run: 'r2' };

describe('the writer of a directory of archives', () => {
  const inFolder = (
    body: (
      claim: (writer: Writer, atMin: number, hadIt?: boolean) => string | undefined,
      folder: string,
    ) => void,
  ) =>
    withFolder((folder) =>
      body(
        (writer, atMin, hadIt = false) =>
          claimPlace(folder, writer, { nowMs: atMin * MINUTE_MS, hadIt }),
        folder,
      ),
    );
  const refused = (use: () => unknown, message: RegExp) =>
    assert.throws(use, { code: 'WRONG_STATE', message });

  it('is one at a time, and another when it has gone', () =>
    inFolder((claim) => {
      assert.equal(claim(BOX1, 0), undefined);
      assert.equal(claim(BOX1, 10, true), undefined);
      refused(() => claim(BOX2, 24), /is written by another node, box1/);
      assert.equal(claim(BOX2, 26), 'box1');
      assert.equal(claim(BOX2, 27, true), undefined);
      // It was there meanwhile, idle: both are told to write there.
      refused(() => claim(BOX1, 60, true), /is written by another node, box2/);
      assert.equal(claim(BOX1, 60), 'box2', 'that is a start anew, half an hour later');
    }));

  it('may be another at once when it has stopped in order, or a person says so', () =>
    inFolder((claim, folder) => {
      claim(BOX1, 0);
      leavePlace(folder, BOX2, 0);
      refused(() => claim(BOX2, 1), /box1/);
      leavePlace(folder, BOX1, MINUTE_MS);
      assert.equal(claim(BOX2, 2), 'box1');
      fs.rmSync(path.join(folder, WRITER_FILE));
      assert.equal(claim(BOX1, 2), undefined);
      fs.writeFileSync(path.join(folder, WRITER_FILE), '\0\0\0');
      assert.equal(claim(BOX2, 2), undefined, 'what power loss may leave is none');
    }));

  it('is itself after a crash, but not its copy', () =>
    inFolder((claim) => {
      claim(BOX1, 0);
      const again = { ...BOX1, run: 'r3' };
      assert.equal(claim(again, 1), undefined);
      refused(() => claim(BOX1, 2, true), /box1/);
    }));

  it('is of the same cluster, or on the same machine, set up anew', () =>
    inFolder((claim, folder) => {
      claim(BOX1, 0);
      leavePlace(folder, BOX1, 0);
      const stranger = { ...BOX2, cluster: 'd' };
      refused(() => claim(stranger, 10_000), /has the archives of another cluster.*box1/);
      const anew = { ...BOX1, cluster: 'd', node: '3', run: 'r3' };
      assert.equal(claim(anew, 10_000), 'box1');
    }));

  it('goes on where nothing can be written: a full disk is freed by what is removed', () =>
    inFolder((claim) => {
      claim(BOX1, 0);
      const full = mock.method(fs, 'writeFileSync', () => {
        throw Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC', errno: -28 });
      });
      try {
        assert.equal(claim(BOX1, 10, true), undefined);
      } finally {
        full.mock.restore();
      }
    }));

  it('is no other for a clock that is far ahead or behind', () =>
    inFolder((claim) => {
      claim(BOX1, 1000);
      refused(() => claim(BOX2, 990), /box1/);
      claim(BOX1, 10, true);
      refused(() => claim(BOX2, 11), /box1/);
    }));
});

describe('two nodes with one directory of archives', () => {
  const standOf = standForEach();

  it('do not write at once: the second says who does, removes nothing, and goes on when that has stopped', async () => {
    const first = standOf();
    const own = first.keeperOf({});
    assert((await own.snapshot()).ok);
    const second = new KeeperStand();
    second.begin();
    try {
      second.position = { ...POSITION, txid: 9 };
      const dir = path.join(first.folder, 'backups');
      const writer = () => ({ cluster: 'c', node: 'm', hostname: 'box2' });
      const other = second.keeperOf({ dir, writer });
      const run = await other.snapshot();
      assert.match(run.errors.join(), /backups is written by another node, box1/);
      assert.match(other.warnings().join(), /box1/);
      await assert.rejects(other.increment('app.db'), { code: 'WRONG_STATE' });
      const files = () => archiveOf(dir, 'app.db').list();
      assert.deepEqual(
        files().map(({ maxTxid }) => maxTxid),
        [3],
      );
      await own.close();
      assert((await other.snapshot()).ok);
      assert.deepEqual(other.warnings(), []);
      assert.equal(files().at(-1)?.maxTxid, 9);
      assert.match(second.logged.join(), /was written by box1: archives go on/);
    } finally {
      await second.end();
    }
  });
});
