/**
 * Applications that go on opening their files while the node dies, restarts or is stopped. On 25311ce they made them in the
 * bare mount point: below the mount, where nobody finds them again (issue 15, row g). What they met is counted.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { mountsAt } from '../../src/os/mounts.ts';
import { Cluster, type TestNode, until } from '../harness/cluster.ts';
import { withDisk } from '../harness/mount-points.ts';
import { type Met, Opener } from '../harness/opener.ts';

const NOBODY = 65534;
const ROUNDS = 2;
/** What a dead mount, or one that is just dying, answers. */
const OF_THE_DEAD = new Set(['ENOTCONN', 'ECONNABORTED', 'EIO']);

/** What one of the processes has met since the look before. */
interface Since {
  readonly opens: number;
  readonly bare: number;
  readonly failed: Readonly<Record<string, number>>;
}

class Openers {
  readonly #openers: readonly Opener[];
  readonly #bareDev: number;
  #before: readonly Met[] = [];

  constructor(node: TestNode) {
    this.#bareDev = fs.statSync(node.dir).dev;
    this.#openers = [0, NOBODY].map((uid) => new Opener(uid, node.file(`of-${uid}`)));
  }

  /** Waits until each has opened its file in a mount from now on. */
  async reach(): Promise<void> {
    const from = await this.#look();
    await until('they open their files in the mount', async () => {
      const met = await this.#look();
      return met.every((each, i) => this.#inMounts(each) > this.#inMounts(from[i]));
    });
  }

  /** Waits until each has tried so many times more. */
  async tryAgain(times: number): Promise<void> {
    const from = await this.#look();
    await until('they try', async () => {
      const met = await this.#look();
      return met.every(({ opens }, i) => opens - from[i].opens >= times);
    });
  }

  /** Root's and the other's, and what it is to be shown as. */
  async since(label: string): Promise<Since[]> {
    const before = this.#before;
    this.#before = await this.#look();
    return this.#before.map((met, i) => {
      const opens = met.opens - (before[i]?.opens ?? 0);
      const bare = (met.opened[this.#bareDev] ?? 0) - (before[i]?.opened[this.#bareDev] ?? 0);
      const failed: Record<string, number> = {};
      for (const [code, count] of Object.entries(met.failed)) {
        const more = count - (before[i]?.failed[code] ?? 0);
        if (more > 0) failed[code] = more;
      }
      const [from, to] = met.spans[this.#bareDev] ?? [0, 0];
      const whose = i === 0 ? 'root' : 'another';
      const where = `${bare} in the bare folder (within ${(to - from).toFixed(0)} ms so far)`;
      console.log(`${label}, ${whose}: ${opens} opens, ${where}, ${JSON.stringify(failed)}`);
      return { opens, bare, failed };
    });
  }

  async end(): Promise<void> {
    await Promise.all(this.#openers.map((opener) => opener.end()));
  }

  #inMounts({ opened }: Met): number {
    const counts = Object.entries(opened).filter(([dev]) => dev !== `${this.#bareDev}`);
    return counts.reduce((sum, [, count]) => sum + count, 0);
  }

  #look(): Promise<Met[]> {
    return Promise.all(this.#openers.map((opener) => opener.look()));
  }
}

/** A node whose mount point all may write to, mounted or not, and two processes that open their files in it. */
async function withOpeners(
  body: (parts: { node: TestNode; openers: Openers }) => Promise<void>,
): Promise<void> {
  await withDisk(async (base) => {
    const cluster = new Cluster(base);
    let openers: Openers | undefined;
    try {
      fs.chmodSync(cluster.dir, 0o755);
      const node = await cluster.add('primary', {
        candidate: true,
        passthrough: 'auto',
        config: { fuse: { 'allow-other': true } },
      });
      fs.mkdirSync(node.mount);
      fs.chmodSync(node.mount, 0o777);
      await node.start();
      fs.chmodSync(node.mount, 0o777);
      openers = new Openers(node);
      await openers.reach();
      await openers.since('before');
      await body({ node, openers });
      await openers.end();
      await node.stop();
      assert.deepEqual(mountsAt(node.mount), []);
      assert.deepEqual(fs.readdirSync(node.mount), [], 'somebody wrote below the mount');
    } finally {
      await openers?.end();
      await cluster.close();
    }
  });
}

test('after kill -9 nobody comes to the bare folder: the dead mount stays until the next one serves', () =>
  withOpeners(async ({ node, openers }) => {
    for (let round = 0; round < ROUNDS; round++) {
      await node.kill();
      await openers.tryAgain(100);
      await node.start();
      await openers.reach();
      for (const { bare, failed } of await openers.since('killed and started')) {
        assert.equal(bare, 0);
        // The bare folder, which is immutable, would have refused them with EPERM.
        for (const code of Object.keys(failed)) assert(OF_THE_DEAD.has(code), code);
        assert(failed.ENOTCONN > 0, 'it was there meanwhile');
      }
      assert.equal(mountsAt(node.mount).length, 1, 'the dead one is gone');
    }
  }));

test('while a node is stopped nobody writes in the bare folder, not even root', () =>
  withOpeners(async ({ node, openers }) => {
    for (let round = 0; round < ROUNDS; round++) {
      assert.equal(await node.stop(), 0);
      await openers.tryAgain(100);
      await node.start();
      await openers.reach();
      for (const { bare, failed } of await openers.since('stopped and started')) {
        assert.equal(bare, 0);
        assert(failed.EPERM > 0, 'they tried');
      }
    }
  }));
