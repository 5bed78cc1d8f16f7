import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { pino } from 'pino';
import { ServiceManager } from '../../../src/daemon/service-manager.ts';
import { sendDatagram } from '../../../src/os/unix-datagram.ts';
import { until } from '../../harness/cluster.ts';
import { NotifySocket } from '../../harness/notify-socket.ts';

describe('the service manager', () => {
  const silent = pino({ level: 'silent' });
  let folder: string;
  let socket: NotifySocket;

  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-test-'));
    socket = new NotifySocket(folder);
  });
  afterEach(() => {
    socket.close();
    fs.rmSync(folder, { recursive: true, force: true });
  });

  it('is told of readiness and of the end, and leaves nothing for the app', () => {
    const environment: NodeJS.ProcessEnv = {
      NOTIFY_SOCKET: socket.path,
      WATCHDOG_USEC: '1000000',
      WATCHDOG_PID: '7',
      HOME: '/root',
    };
    const manager = new ServiceManager(environment, 7, silent);
    assert.deepEqual(environment, { HOME: '/root' });
    manager.ready('primary');
    manager.stopping();
    assert(socket.has('READY=1'));
    assert.deepEqual(socket.lines, ['READY=1', 'STATUS=primary', 'STOPPING=1', 'STATUS=stopping']);
  });

  it('hears that we live, as long as we do', async () => {
    const environment = { NOTIFY_SOCKET: socket.path, WATCHDOG_USEC: '4000' };
    const manager = new ServiceManager(environment, 7, silent);
    let asked = 0;
    const stuck = Promise.withResolvers<void>();
    manager.watch(() => (++asked <= 3 ? Promise.resolve() : stuck.promise));
    const keepAlive = setInterval(() => {}, 1000);
    await until('asked for the fourth time', () => asked === 4);
    assert(socket.has('WATCHDOG=1'));
    assert.equal(socket.lines.length, 3);
    stuck.resolve();
    await until('asked again', () => asked > 4);
    manager.stopping();
    clearInterval(keepAlive);
  });

  it('is not there, or means another process: nothing happens', () => {
    new ServiceManager({}, 7, silent).ready('primary');
    const another = { NOTIFY_SOCKET: socket.path, WATCHDOG_USEC: '1000', WATCHDOG_PID: '8' };
    new ServiceManager(another, 7, silent).watch(() => assert.fail('asked'));
    assert(!socket.has(/./));
    new ServiceManager({ NOTIFY_SOCKET: `${folder}/nobody` }, 7, silent).ready('primary');
    assert.throws(() => sendDatagram(`/${'x'.repeat(107)}`, ''), RangeError);
  });
});
