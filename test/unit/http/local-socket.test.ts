/** A node's Unix socket: who may connect, who may have what done, and whose place it never takes. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { Route } from '../../../src/http/router.ts';
import { until } from '../../harness/cluster.ts';
import { fetchLocally } from '../../harness/local-api.ts';
import { admits, ask, withServer } from './serve.ts';

const USER = 54321;
const GROUP = 54322;
const routes: Route[] = [
  { method: 'GET', path: '/open', access: 'public', handle: () => ({}) },
  { method: 'POST', path: '/shut', access: 'guarded', handle: () => ({}) },
];

let dir: string;
let file: string;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-local-'));
  fs.chmodSync(dir, 0o755);
  file = path.join(dir, 'sockets', 'a.sock');
});
afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

interface User {
  readonly uid: number;
  readonly gid: number;
  readonly groups?: string;
}

/** The status of an answer to a process of another user, by curl; 0: it could not connect. */
async function statusFor({ uid, gid, groups }: User, method: string, where: string) {
  const others = groups === undefined ? '--clear-groups' : `--groups=${groups}`;
  const user = [`--reuid=${uid}`, `--regid=${gid}`, others];
  const asked = ['-s', '-o', '/dev/null', '-w', '%{http_code}', '-X', method];
  const child = spawn(
    'setpriv',
    [...user, 'curl', ...asked, '--unix-socket', file, `http://localhost${where}`],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let text = '';
  child.stdout.on('data', (chunk) => (text += chunk));
  await once(child, 'close');
  return Number(text);
}

describe('the socket of a node', () => {
  it('is for its user and its group, and tells of each who asked for what', async () => {
    const told: string[] = [];
    const admission = { ...admits(undefined), gid: GROUP };
    const admitted = (what: string, who: string) => told.push(`${what}: ${who}`);
    const serve = (body: () => Promise<void>) =>
      withServer({ routes, admission, admitted }, body, file);
    await serve(async () => {
      const { mode, gid } = fs.lstatSync(file);
      assert.deepEqual([mode & 0o777, gid], [0o660, GROUP]);
      assert.equal(fs.lstatSync(path.dirname(file)).mode & 0o777, 0o755);
      assert.equal((await fetchLocally(file, '/shut?name=a%0Ab', { method: 'POST' })).status, 200);
      for (const member of [
        { uid: USER, gid: GROUP },
        { uid: USER, gid: USER, groups: `7,${GROUP}` },
      ]) {
        assert.equal(await statusFor(member, 'POST', '/shut'), 200);
      }
      assert.equal(await statusFor({ uid: USER, gid: USER }, 'GET', '/open'), 0);
      assert.equal(told.length, 3);
      assert.equal(told[0], `POST /shut?name=a%0Ab: user 0, process ${process.pid}`);
      assert.match(told[2], /^POST \/shut: user 54321, process \d+$/);
    });
  });

  it('is for its user alone where there is no such group', () =>
    withServer(
      { routes },
      async () => {
        assert.equal(fs.lstatSync(file).mode & 0o777, 0o600);
        assert.equal(await statusFor({ uid: USER, gid: GROUP }, 'GET', '/open'), 0);
      },
      file,
    ));

  it('does nothing for others who can connect, as an administrator has changed its mode', () =>
    withServer(
      { routes, admission: { ...admits('sesame'), gid: GROUP } },
      async () => {
        fs.chmodSync(file, 0o666);
        assert.equal(await statusFor({ uid: USER, gid: USER }, 'GET', '/open'), 200);
        assert.equal(await statusFor({ uid: USER, gid: USER }, 'POST', '/shut'), 403);
      },
      file,
    ));

  it('shows the status to its user without the token, and to no others', () =>
    withServer(
      {
        routes: [{ method: 'GET', path: '/info', access: 'status', handle: () => ({}) }],
        admission: { ...admits(undefined, 'peephole'), gid: GROUP },
      },
      async () => {
        fs.chmodSync(file, 0o666);
        assert.equal((await fetchLocally(file, '/info')).status, 200);
        assert.equal(await statusFor({ uid: USER, gid: GROUP }, 'GET', '/info'), 200);
        assert.equal(await statusFor({ uid: USER, gid: USER }, 'GET', '/info'), 403);
      },
      file,
    ));

  it('asks for no Host, and the port admits nobody for what the socket does', () =>
    withServer(
      { routes },
      async (port) => {
        const headers = { host: 'evil.example' };
        assert.equal((await fetchLocally(file, '/open', { headers })).status, 200);
        assert.equal((await ask(port, 'POST', '/shut')).status, 401);
      },
      file,
    ));

  it('takes 256 connections', () =>
    withServer(
      { routes },
      async () => {
        const sockets: net.Socket[] = [];
        try {
          for (let i = 0; i < 300; i++) {
            const socket = net.connect(file);
            socket.on('error', () => {});
            sockets.push(socket);
            await once(socket, 'connect');
          }
          const closed = () => sockets.filter((socket) => socket.destroyed).length;
          for (const socket of sockets) socket.resume();
          await until('those beyond are closed', () => closed() >= 44);
          assert.equal(closed(), 44);
          sockets[0].write('GET /open HTTP/1.1\r\nHost: x\r\n\r\n');
          await once(sockets[0], 'data');
        } finally {
          for (const socket of sockets) socket.destroy();
        }
      },
      file,
    ));

  it('takes the place of what a dead node left, and leaves none', async () => {
    await withServer(
      { routes },
      async () => {
        fs.linkSync(file, `${file}.left`);
      },
      file,
    );
    assert(!fs.existsSync(file));
    fs.renameSync(`${file}.left`, file);
    await withServer(
      { routes },
      async () => assert.equal((await fetchLocally(file, '/open')).status, 200),
      file,
    );
  });

  it('does not take the place of a living one, or of what is no socket', async () => {
    const start = () => withServer({ routes }, async () => assert.fail('it has started'), file);
    const own = net.createServer();
    fs.mkdirSync(path.dirname(file));
    own.listen(file);
    await once(own, 'listening');
    try {
      await assert.rejects(start, {
        code: 'LISTEN',
        message: /running node has/,
        hint: /http\.socket/,
      });
      assert(fs.lstatSync(file).isSocket());
    } finally {
      own.close();
      await once(own, 'close');
    }
    for (const make of [
      () => fs.writeFileSync(file, 'precious'),
      () => fs.symlinkSync(path.join(dir, 'elsewhere'), file),
      () => fs.mkdirSync(file),
    ]) {
      make();
      await assert.rejects(start, { code: 'LISTEN', message: /something else than a socket/ });
      assert(fs.lstatSync(file, { throwIfNoEntry: false }));
      fs.rmSync(file, { recursive: true });
    }
    fs.rmdirSync(path.dirname(file));
    fs.writeFileSync(path.dirname(file), '');
    await assert.rejects(start, { code: 'LISTEN', hint: /Set http\.socket/ });
  });
});
