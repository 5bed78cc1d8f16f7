/**
 * The power goes while an application commits transactions over two databases: each is there in both or in neither, on every
 * disk that may be left, also when the power goes again while the node makes it so.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { unmount } from '../../src/os/mounts.ts';
import { freePorts, TestNode } from '../harness/cluster.ts';
import { FATES, writeCrashImage } from '../harness/power/crash-image.ts';
import { canMakeDisks, DISK_BYTES, LoggedDisks } from '../harness/power/disks.ts';
import { pairsIn, writePairs } from '../harness/power/pair-app.ts';
import { scratchFolder, sweep } from '../harness/power/scratch.ts';
import { SeededRandom } from '../harness/random.ts';

const skip = canMakeDisks() ? false : 'it takes root, loop devices and mkfs.ext4';
const MOUNT_OPTIONS = 'commit=5';
const PAIRS = 12;
const CUTS = 3;
const CUTS_AGAIN = 1;

/** A primary on a disk that remembers, until `use` is done with it. */
async function onDisk(
  dir: string,
  begin: string | undefined,
  use: (node: TestNode, disks: LoggedDisks) => Promise<void>,
): Promise<LoggedDisks> {
  const point = path.join(dir, 'node');
  const begins = begin === undefined ? undefined : [begin];
  const disks = await LoggedDisks.start(path.join(dir, 'disk'), [point], MOUNT_OPTIONS, begins);
  const [http, replication] = await freePorts(2);
  const settings = { candidate: true, passthrough: 'auto' } as const;
  const node = new TestNode('primary', point, [http, replication], settings);
  try {
    await node.start();
    await use(node, disks);
  } finally {
    await node.kill();
    unmount(node.mount, { detach: true });
    disks.close();
  }
  return disks;
}

/** Makes the disk that a cut somewhere behind record `from` may leave. */
function cutSomewhere(
  disks: LoggedDisks,
  from: number,
  file: string,
  random: SeededRandom,
): string {
  const records = disks.records();
  const at = from + random.below(records.length - from + 1);
  const fate = random.pick(FATES);
  writeCrashImage(file, disks.log, records, { disk: 0, bytes: DISK_BYTES, at, fate }, random);
  return `cut at ${at} of ${records.length}, ${fate}`;
}

/** The disk begins as what a cut has left; how it is there once the node runs. */
async function startOn(dir: string, begin: string, what: string): Promise<LoggedDisks> {
  return onDisk(dir, begin, async (node) => {
    const [ours, theirs] = ['a.db', 'b.db'].map((name) =>
      fs.existsSync(node.file(name)) ? pairsIn(node.file(name)) : [],
    );
    assert.deepEqual(ours, theirs, `${what}\n${node.logText()}`);
    assert.deepEqual(
      ours,
      ours.map((_, i) => i + 1),
      what,
    );
  });
}

test('a transaction over two databases is in both or in neither', { skip }, async () => {
  const random = new SeededRandom();
  const dir = scratchFolder();
  try {
    let from = 0;
    const lived = await onDisk(path.join(dir, 'life'), undefined, async (node, disks) => {
      from = disks.records().length;
      await writePairs(node.file('a.db'), node.file('b.db'), PAIRS);
    });
    for (let i = 0; i < CUTS; i++) {
      const file = path.join(dir, 'cut.img');
      const what = `seed ${random.seed}, ${cutSomewhere(lived, from, file, random)}`;
      const started = await startOn(path.join(dir, `start-${i}`), file, what);
      for (let j = 0; j < CUTS_AGAIN; j++) {
        const again = path.join(dir, 'again.img');
        // A log begins with what is on the disk, and a flush.
        const begun = started.records().findIndex(({ kind }) => kind === 'flush') + 1;
        const where = `${what}, then ${cutSomewhere(started, begun, again, random)}`;
        await startOn(path.join(dir, `start-${i}-${j}`), again, where);
      }
    }
  } finally {
    sweep(dir);
  }
});
