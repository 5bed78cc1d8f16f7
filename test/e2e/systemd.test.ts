/** What a node tells systemd, and what its app does not inherit. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { said, shell, shellText, sqlite3 } from '../harness/app.ts';
import { Cluster, until } from '../harness/cluster.ts';
import { NotifySocket } from '../harness/notify-socket.ts';

describe('under systemd', () => {
  let cluster: Cluster;
  let folder: string;
  let socket: NotifySocket;
  beforeEach(() => {
    cluster = new Cluster();
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-test-'));
    socket = new NotifySocket(folder);
  });
  afterEach(async () => {
    await cluster.close();
    socket.close();
    fs.rmSync(folder, { recursive: true, force: true });
  });

  test('a node is ready when it is mounted, lives, and says that it stops', async () => {
    const node = await cluster.add('primary', {
      candidate: true,
      passthrough: 'auto',
      environment: { NOTIFY_SOCKET: socket.path, WATCHDOG_USEC: '200000' },
    });
    node.launch(['--', ...shell('say "socket: $NOTIFY_SOCKET"; exec tail -f /dev/null')]);
    await until('ready', () => socket.has('READY=1'));
    assert(fs.existsSync(path.join(node.mount, '.lag')));
    await until('alive', () => socket.has('WATCHDOG=1'));
    await until('the app speaks', () => said(node).length > 0);
    assert.deepEqual(said(node), ['socket: ']);
    const status = await node.stop();
    assert(socket.has('STOPPING=1'));
    assert.equal(status, 128 + os.constants.signals.SIGTERM);
  });

  /** A replica that tells systemd of itself, and what it runs only when it is in sync. */
  const replica = (primaryPort: number) =>
    cluster.add('replica', {
      candidate: false,
      passthrough: 'auto',
      primaryPort,
      environment: { NOTIFY_SOCKET: socket.path },
      config: { exec: shellText('say started; stay') },
    });

  // On 25311ce READY waited for the primary, and so did `systemctl restart`, for ever and without a word.
  test('a replica is ready without its primary, says why it is not in sync, and starts its app when it is', async () => {
    const primary = await cluster.add('primary', { candidate: true, passthrough: 'auto' });
    const node = await replica(primary.replicationPort);
    node.launch();
    await until('ready', () => socket.has('READY=1'));
    assert(fs.existsSync(path.join(node.mount, '.lag')), 'mounted');
    const away =
      /^STATUS=replica, mounted on .*; not connected to 127\.0\.0\.1:\d+: .*ECONNREFUSED/;
    await until('why', () => socket.has(away));
    assert.deepEqual(said(node), [], 'its app waits');
    await primary.start();
    await until('in sync', () => socket.has(/^STATUS=replica, mounted on .*; in sync with /));
    await until('its app is started', () => said(node).length > 0);
    const toldOfSync = socket.lines.length;
    await primary.stop();
    await until('told of the loss', () => {
      const again = socket.has(away);
      return again && socket.lines.slice(toldOfSync).some((line) => away.test(line));
    });
    assert.equal(socket.lines.filter((line) => line === 'READY=1').length, 1);
  });

  test('a replica that is never let in is ready too, and systemd hears who refuses it', async () => {
    const primary = await cluster.add('primary', { candidate: true, passthrough: 'auto' });
    await primary.start();
    sqlite3(primary.file('app.db'), 'CREATE TABLE t(x)');
    // As a replica it was another node, with a database.
    const other = await cluster.add('replica', { candidate: true, passthrough: 'auto' });
    await other.start();
    sqlite3(other.file('own.db'), 'CREATE TABLE t(x)');
    await other.stop();
    const node = await replica(primary.replicationPort);
    node.launch();
    await until('why', () => socket.has(/^STATUS=.*; refused by .*: .* belongs to cluster /));
    assert(socket.has('READY=1'));
    assert.equal(await node.stop(), 0);
    assert.deepEqual(said(node), [], 'its app was not started');
  });

  test('a start that reads databases asks for more time', async () => {
    const node = await cluster.add('primary', {
      candidate: true,
      passthrough: 'auto',
      environment: { NOTIFY_SOCKET: socket.path },
    });
    await node.start();
    sqlite3(node.file('app.db'), 'CREATE TABLE t(x)');
    await until('captured', async () => (await node.position('app.db')) !== '');
    await node.kill();
    assert(!socket.has('STATUS=recovering app.db'));
    await node.start();
    await until('told', () => socket.has('STATUS=recovering app.db'));
    const at = socket.lines.indexOf('STATUS=recovering app.db');
    assert.match(socket.lines[at - 1], /^EXTEND_TIMEOUT_USEC=\d+$/);
  });
});
