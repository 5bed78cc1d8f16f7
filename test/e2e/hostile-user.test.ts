/**
 * A user without rights on a node's machine: what their files' modes keep from them is not to be had through the node.
 *
 * The API (row a). On 25311ce loopback was trusted, with a secret set as well: /export sent a database of mode 0600 in a
 * folder of mode 0700, /import replaced it on all nodes, and /restore, /halt, /snapshot and /increment did what was asked.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { sqlite3 } from '../harness/app.ts';
import { inSync, type TestNode } from '../harness/cluster.ts';
import { USER, withUser } from '../harness/unprivileged.ts';

/** Another user, whose database it is. */
const OWNER = 54399;
const DATABASE = 'vault/passwords.db';
const TAKEN = ['GET /export', 'HEAD /export', 'GET /verify', 'POST /snapshot', 'POST /increment'];
const CHANGED = ['POST /import', 'POST /restore', 'POST /halt', 'DELETE /halt'];
/** Of a proxy in front, and of an application that can be made to ask. */
const HEADERS = [
  [],
  ['X-Forwarded-For: 127.0.0.1', 'X-Real-IP: 127.0.0.1'],
  ['Forwarded: for=127.0.0.1'],
  ['Host: localhost'],
  ['Authorization: Bearer '],
  ['Authorization: Basic cm9vdDo='],
];

interface Answer {
  readonly status: number;
  /** Of curl; 7: it could not connect. */
  readonly exit: number | null;
  readonly body: string;
}

/** curl, run by that user. `where`: options that say how the node is reached. */
function curl(method: string, words: readonly string[]): Answer {
  const user = [`--reuid=${USER}`, `--regid=${USER}`, '--clear-groups', '--no-new-privs'];
  const how = method === 'HEAD' ? ['--head'] : ['-X', method];
  const asked = ['curl', '-sS', '-m', '20', '-w', '\n%{http_code}', ...how, ...words];
  const run = spawnSync('setpriv', [...user, ...asked], { encoding: 'utf8', cwd: '/' });
  const lines = run.stdout.split('\n');
  return { status: Number(lines.at(-1)), exit: run.status, body: lines.slice(0, -1).join('\n') };
}

function makeVault(node: TestNode): void {
  const folder = path.dirname(node.file(DATABASE));
  fs.mkdirSync(folder, { mode: 0o700 });
  sqlite3(node.file(DATABASE), "CREATE TABLE t(x); INSERT INTO t VALUES('hunter2')");
  fs.chmodSync(node.file(DATABASE), 0o600);
  fs.chownSync(node.file(DATABASE), OWNER, OWNER);
  fs.chownSync(folder, OWNER, OWNER);
}

describe('the API, asked by a user of the machine', () => {
  it("gives nothing of another user's database, and does nothing to it", () =>
    withUser(1, async ({ cluster, primary, replica }) => {
      makeVault(primary);
      await inSync(primary, replica, DATABASE);
      const image = path.join(cluster.dir, 'evil.db');
      sqlite3(image, "CREATE TABLE t(x); INSERT INTO t VALUES('evil')");
      fs.chmodSync(image, 0o644);
      const before = await Promise.all([primary, replica].map((node) => node.position(DATABASE)));
      const query = `?name=${encodeURIComponent(DATABASE)}&id=7`;
      for (const node of [primary, replica]) {
        for (const route of [...TAKEN, ...CHANGED]) {
          const [method, where] = route.split(' ');
          const body = method === 'POST' ? ['--data-binary', `@${image}`] : [];
          for (const headers of HEADERS) {
            const shown = headers.flatMap((header) => ['-H', header]);
            const url = `http://127.0.0.1:${node.httpPort}${where}${query}`;
            const { status, body: text } = curl(method, [...body, ...shown, url]);
            assert.equal(status, 401, `${route} of the ${node.name}, ${headers.join()}: ${text}`);
            assert(!text.includes('hunter2'));
          }
          const through = ['--unix-socket', node.socket, `http://localhost${where}${query}`];
          const answer = curl(method, [...body, ...through]);
          assert.deepEqual([answer.status, answer.exit], [0, 7], `${route} at the socket`);
        }
      }
      assert.deepEqual(
        await Promise.all([primary, replica].map((node) => node.position(DATABASE))),
        before,
      );
      for (const node of [primary, replica]) {
        assert.equal(sqlite3(node.file(DATABASE), 'SELECT x FROM t'), 'hunter2');
      }
      const [report] = (await primary.info()).databases;
      assert.equal(report.haltHolder, null);
    }));

  it('is not taken away from root: neither its socket, nor the place of it', () =>
    withUser(0, async ({ primary }) => {
      const user = [`--reuid=${USER}`, `--regid=${USER}`, '--clear-groups'];
      for (const script of [
        `rm -f ${primary.socket}`,
        `mv ${primary.socket} ${primary.socket}.old`,
        `chmod 666 ${primary.socket}`,
      ]) {
        assert.notEqual(spawnSync('setpriv', [...user, 'sh', '-c', script]).status, 0, script);
      }
      assert.equal((await primary.api('/verify?name=nope.db')).status, 404);
    }));
});
