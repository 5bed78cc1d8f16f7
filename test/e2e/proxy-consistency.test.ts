/**
 * Read your writes: browsers with cookie jars that write and at once read, each time through a random node, while
 * replication takes its time.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProxiedCluster } from '../harness/proxied.ts';
import { SeededRandom } from '../harness/random.ts';
import { slowLink } from '../harness/slow-link.ts';
import type { TcpRelay } from '../harness/tcp-relay.ts';
import { WebClient } from '../harness/web-client.ts';

/** More: LITEFS_LITE_PROXY_ROUNDS=10000. */
const ROUNDS = Number(process.env.LITEFS_LITE_PROXY_ROUNDS ?? 1500);
const CLIENTS = 25;
const DELAY_MS_MAX = 20;

test('a client never reads older data than it wrote', async (t) => {
  const random = new SeededRandom();
  t.diagnostic(`LITEFS_LITE_SEED=${random.seed}`);
  const links: TcpRelay[] = [];
  const cluster = await ProxiedCluster.start({
    replicas: 2,
    async link(port) {
      links.push(await slowLink(port, random, DELAY_MS_MAX));
      return links[0].port;
    },
    proxy: { 'primary-redirect-timeout': '20s', 'read-your-writes-timeout': '20s' },
    // Through the link the replicas know the primary by another address, but its proxy by the same.
  });
  t.after(async () => {
    for (const link of links) link.close();
    await cluster.close();
  });
  const waited = { primary: 0, replica: 0 };

  const browse = async (name: number) => {
    const client = new WebClient();
    try {
      for (let round = 0; round < ROUNDS / CLIENTS; round++) {
        const value = `${round}`;
        const written = await client.post(
          random.pick(cluster.ports),
          `/keys/client-${name}?value=${value}`,
        );
        assert.equal(written.status, 200, written.text);
        const read = await client.fetch(random.pick(cluster.ports), `/keys/client-${name}`);
        assert.equal(read.status, 200, read.text);
        assert.equal(read.json().value, value, `round ${round} of client ${name}`);
        waited[read.headers['litefs-role'] as 'primary' | 'replica']++;
      }
    } finally {
      client.close();
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, (_, name) => browse(name)));
  // Replicas did not just pass everything on.
  assert(waited.replica > ROUNDS / 2, `${waited.replica} reads were answered by replicas`);
});
