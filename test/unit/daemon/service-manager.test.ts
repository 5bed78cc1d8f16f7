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

const UNIT = '../../../debian/litefs-lite.service';

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
    manager.ready(() => 'primary');
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

  it('is told how the node is whenever that changes, and nothing after the end', async () => {
    const environment = { NOTIFY_SOCKET: socket.path };
    const manager = new ServiceManager(environment, 7, silent);
    let status = 'not in sync';
    let looked = 0;
    manager.ready(() => {
      looked++;
      return status;
    });
    const keepAlive = setInterval(() => {}, 1000);
    await until('looked at again', () => looked > 2);
    status = 'in sync';
    await until('told', () => socket.has('STATUS=in sync'));
    manager.stopping();
    clearInterval(keepAlive);
    assert(socket.has('STATUS=stopping'));
    const told = ['STATUS=not in sync', 'STATUS=in sync', 'STOPPING=1', 'STATUS=stopping'];
    assert.deepEqual(socket.lines, ['READY=1', ...told]);
  });

  it('gets one line, whatever a peer has said', () => {
    const manager = new ServiceManager({ NOTIFY_SOCKET: socket.path }, 7, silent);
    manager.starting(`refused: no\nMAINPID=1\n${'x'.repeat(5000)}`);
    assert(socket.has(/^STATUS=refused: no MAINPID=1 x/));
    assert.deepEqual(socket.lines.length, 2);
    assert(socket.lines[1].length < 1000);
  });

  it('waits on as long as the start gets on', () => {
    const manager = new ServiceManager({ NOTIFY_SOCKET: socket.path }, 7, silent);
    manager.starting('recovering a.db');
    manager.starting('waiting', 5000);
    assert(socket.has('STATUS=waiting'));
    const times = socket.lines.flatMap(
      (line) => /^EXTEND_TIMEOUT_USEC=(\d+)$/.exec(line)?.[1] ?? [],
    );
    const unit = fs.readFileSync(path.join(import.meta.dirname, UNIT), 'utf8');
    const inUnit = Number(/^TimeoutStartSec=(\d+)min$/m.exec(unit)?.[1]) * 60e6;
    assert.deepEqual(times.map(Number), [inUnit, inUnit + 5e6]);
  });

  it('is not there, or means another process: nothing happens', () => {
    new ServiceManager({}, 7, silent).ready(() => 'primary');
    const another = { NOTIFY_SOCKET: socket.path, WATCHDOG_USEC: '1000', WATCHDOG_PID: '8' };
    new ServiceManager(another, 7, silent).watch(() => assert.fail('asked'));
    assert(!socket.has(/./));
    new ServiceManager({ NOTIFY_SOCKET: `${folder}/nobody` }, 7, silent).ready(() => 'primary');
    assert.throws(() => sendDatagram(`/${'x'.repeat(107)}`, ''), RangeError);
  });
});
