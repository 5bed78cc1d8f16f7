/** Applications written for LiteFS on Fly.io with litefs-js run as they are, on hosts with names of their own. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, it } from 'node:test';
import { ProxiedCluster } from '../harness/proxied.ts';
import { WebClient } from '../harness/web-client.ts';

const APP = path.resolve(import.meta.dirname, '../harness/litefs-js-app.ts');
const ROUNDS = 30;

/** Writes in each of the application's ways; `add` sends the note's text on its way. */
const WAYS = [
  {
    what: 'the proxy sends writes to the primary',
    add: (client: WebClient, port: number, text: string) =>
      client.post(port, `/notes?text=${text}`),
  },
  {
    what: 'the application asks for the replay of what only it knows to be a write',
    add: (client: WebClient, port: number, text: string) =>
      client.fetch(port, `/notes/add?text=${text}`),
  },
];

describe('an application with litefs-js behind both proxies', () => {
  for (const helpers of ['http', 'express']) {
    it(`with its ${helpers} helpers`, async (t) => {
      const cluster = await ProxiedCluster.start({
        command: (hostname) => [
          ...['unshare', '--uts', 'sh', '-c', 'hostname "$0" && exec "$@"', hostname],
          ...[process.execPath, APP, helpers],
        ],
      });
      t.after(() => cluster.close());
      const { primary, replica } = cluster;
      const expected: string[] = [];
      for (const { what, add } of WAYS) {
        await t.test(what, async () => {
          const client = new WebClient();
          for (let round = 0; round < ROUNDS; round++) {
            const { port } = round % 2 === 0 ? replica : primary;
            const written = await add(client, port, `${round}`);
            assert.equal(written.status, 200, written.text);
            assert.equal(written.headers['fly-replay'], undefined);
            assert(client.cookies.has('txnum'), 'the cookie is kept, though this is plain HTTP');
            expected.push(`${round}`);
            const read = await client.fetch(replica.port, '/notes');
            assert.equal(read.status, 200, read.text);
            assert.deepEqual(read.json().notes, expected);
            assert.equal(read.json().primaryInstance, 'box-primary');
            assert(!client.cookies.has('txnum'), 'it has served its purpose');
          }
          const here = (await client.fetch(replica.port, '/notes')).json();
          assert.equal(here.currentInstance, 'box-replica-1');
          assert.equal(here.currentIsPrimary, false);
          client.close();
        });
      }
    });
  }
});
