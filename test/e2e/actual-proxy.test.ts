/** A web application from npm, as it comes, on two nodes behind their proxies: the server of Actual, a budget program. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { inSync, until } from '../harness/cluster.ts';
import { ProxiedCluster, type ProxiedNode } from '../harness/proxied.ts';
import { WebClient } from '../harness/web-client.ts';

const APP = path.resolve(import.meta.dirname, '../apps/actual');
const SERVER = path.join(APP, 'node_modules/@actual-app/sync-server/build/bin/actual-server.js');
const DATABASE = 'account.sqlite';
const PASSWORD = 'correct horse';
const JSON_BODY = { 'content-type': 'application/json' };

test('set up, log in and edit by way of the replica', async (t) => {
  assert.ok(fs.existsSync(SERVER), `the application is not installed: npm ci --prefix ${APP}`);
  const proxied = await ProxiedCluster.start({ skipApps: true, proxy: { db: DATABASE } });
  const servers: ChildProcess[] = [];
  const client = new WebClient();
  t.after(async () => {
    client.close();
    for (const server of servers) {
      server.kill('SIGKILL');
      if (server.exitCode === null && server.signalCode === null) await once(server, 'exit');
    }
    await proxied.close();
  });
  const { primary, replica } = proxied;
  servers.push(await startServer(primary));
  await inSync(primary.node, replica.node, DATABASE);
  // What the application notes of its migrations is a file and no database: it comes with the installation.
  fs.mkdirSync(dataDir(replica), { recursive: true });
  fs.copyFileSync(path.join(dataDir(primary), '.migrate'), path.join(dataDir(replica), '.migrate'));
  servers.push(await startServer(replica));

  const post = (port: number, where: string, body: unknown, headers: Record<string, string> = {}) =>
    client.fetch(port, where, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { ...JSON_BODY, ...headers },
    });

  const bootstrapped = await post(replica.port, '/account/bootstrap', { password: PASSWORD });
  assert.equal(bootstrapped.json().status, 'ok', bootstrapped.text);
  const wrong = await post(replica.port, '/account/login', { password: 'nope' });
  assert.notEqual(wrong.json().data?.token ?? null, PASSWORD);
  assert.notEqual(wrong.json().status, 'ok');
  const login = await post(replica.port, '/account/login', { password: PASSWORD });
  const { token } = login.json().data;
  assert.ok(token, login.text);

  const known = { 'x-actual-token': token };
  const validated = await client.fetch(replica.port, '/account/validate', { headers: known });
  assert.equal(validated.json().data.validated, true, validated.text);
  assert.equal(validated.headers['litefs-role'], 'replica');

  const uploaded = await client.fetch(replica.port, '/sync/upload-user-file', {
    method: 'POST',
    body: Buffer.from('a budget'),
    headers: {
      ...known,
      'content-type': 'application/encrypted-file',
      'x-actual-file-id': 'budget-1',
      'x-actual-name': 'Household',
      'x-actual-format': '2',
    },
  });
  assert.equal(uploaded.json().status, 'ok', uploaded.text);
  for (const name of ['Home', 'Farm', 'Meadow']) {
    const named = await post(
      replica.port,
      '/sync/update-user-filename',
      { fileId: 'budget-1', name },
      known,
    );
    assert.equal(named.json().status, 'ok', named.text);
    for (const { port } of [replica, primary]) {
      const list = await client.fetch(port, '/sync/list-user-files', { headers: known });
      const names = list.json().data.map((file: { name: string }) => file.name);
      assert.deepEqual(names, [name], 'its own edit, at once, on either node');
    }
  }
});

function dataDir({ node }: ProxiedNode): string {
  return path.join(node.dir, 'actual');
}

/** Resolves when it answers. Its databases are in the mount, its other files beside it. */
async function startServer(proxied: ProxiedNode): Promise<ChildProcess> {
  const { node, appPort } = proxied;
  const data = dataDir(proxied);
  fs.mkdirSync(path.join(data, 'user-files'), { recursive: true });
  const server = spawn(process.execPath, [SERVER], {
    cwd: data,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      ACTUAL_DATA_DIR: data,
      ACTUAL_SERVER_FILES: node.mount,
      ACTUAL_USER_FILES: path.join(data, 'user-files'),
      ACTUAL_HOSTNAME: '127.0.0.1',
      ACTUAL_PORT: `${appPort}`,
    },
  });
  let said = '';
  for (const stream of [server.stdout, server.stderr]) {
    stream?.on('data', (chunk) => {
      said += chunk;
    });
  }
  try {
    await until('the application answers', async () => {
      assert.equal(server.exitCode, null, `it ended:\n${said}`);
      const answer = await fetch(`http://127.0.0.1:${appPort}/account/needs-bootstrap`).catch(
        () => undefined,
      );
      return answer?.ok ?? false;
    });
  } catch (error) {
    server.kill('SIGKILL');
    throw new Error(`the application does not answer:\n${said}`, { cause: error });
  }
  return server;
}
