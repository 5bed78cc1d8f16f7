/**
 * /healthz says that a node is well only when its threads answer. On 25311ce it asked none of them: it said ok while the
 * engine hung in open(2), and while nobody could open a file in the mount.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { HealthReport } from '../../src/http/info.ts';
import { type Cluster, startCluster, type TestNode } from '../harness/cluster.ts';
import { pauseThread } from '../harness/paused-thread.ts';

const ASKED = 20;

describe('the health of a node', () => {
  let cluster: Cluster;
  let node: TestNode;
  before(async () => {
    ({ cluster, primary: node } = await startCluster('auto', { replicas: 0 }));
  });
  after(() => cluster?.close());

  const ask = async (): Promise<{ status: number; report: HealthReport }> => {
    const response = await fetch(`http://127.0.0.1:${node.httpPort}/healthz`);
    return { status: response.status, report: (await response.json()) as HealthReport };
  };

  for (const thread of ['engine', 'mount'] as const) {
    it(`is 503 while its ${thread} does not answer, and says that it is that, to all who ask`, async () => {
      assert.equal((await ask()).status, 200);
      const resume = await pauseThread(node, thread);
      try {
        for (const { status, report } of await Promise.all(Array.from({ length: ASKED }, ask))) {
          assert.equal(status, 503);
          assert.equal(report.reasons.length, 1);
          assert.match(report.reasons[0], new RegExp(`^the ${thread} has not answered for 5 s$`));
        }
        // By now it is known.
        const startedMs = performance.now();
        assert.equal((await ask()).status, 503);
        assert(performance.now() - startedMs < 2000);
      } finally {
        resume();
      }
      // What had been asked is answered, and so is what is asked now.
      const { status, report } = await ask().then(ask);
      assert.deepEqual([status, report.reasons], [200, []]);
    });
  }
});
