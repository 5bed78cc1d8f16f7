/** What a node tells systemd, and what its app does not inherit. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { said, shell } from '../harness/app.ts';
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

  test('a replica without its primary is not ready, and says what it waits for', async () => {
    const node = await cluster.add('replica', {
      candidate: false,
      passthrough: 'auto',
      primaryPort: 1,
      environment: { NOTIFY_SOCKET: socket.path },
    });
    node.launch();
    await until('waiting', () => socket.has(/^STATUS=mounted on .*; waiting to be in sync/));
    assert(!socket.has('READY=1'));
    assert.equal(await node.stop(), 0);
  });
});
