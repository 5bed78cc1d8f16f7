/** The local secret is found by root alone, and shown to its owner alone. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { describe, it } from 'node:test';
import { type Credentials, localSecretOf, noSecret } from '../../../src/cli/credentials.ts';
import { unmount } from '../../../src/os/mounts.ts';
import { keepLocalSecret } from '../../../src/store/local-secret.ts';
import { withFolder } from '../os/folder.ts';

const ROOT = 0;
const NOBODY = 65534;

function find(dataDir: string, mountDir = '/nowhere'): Credentials {
  type Dirs = Parameters<typeof localSecretOf>[0];
  return localSecretOf({ data: { dir: dataDir }, fuse: { dir: mountDir } } as Dirs);
}

async function asNobody<T>(work: () => T): Promise<Awaited<T>> {
  process.seteuid?.(NOBODY);
  try {
    return await work();
  } finally {
    process.seteuid?.(ROOT);
  }
}

/** What is shown to a listener that this user has made. */
async function shownTo(uid: number, credentials: Credentials): Promise<string | undefined> {
  const server = net.createServer();
  const listen = async () => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  };
  await (uid === NOBODY ? asNobody(listen) : listen());
  const socket = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return credentials.tokenFor(socket);
  } finally {
    socket.destroy();
    server.close();
  }
}

describe('the local secret of a node', () => {
  it('is shown to the user that it belongs to, and to none that listens in its place', () =>
    withFolder(async (dir) => {
      const secret = keepLocalSecret(path.join(dir, 'local-secret'), assert.fail);
      assert.equal(await shownTo(ROOT, find(dir)), secret);
      const credentials = find(dir);
      assert.equal(await shownTo(NOBODY, credentials), undefined);
      assert.match(credentials.hint(), /not known to run as the user/);
    }));

  it('is not shown over a connection that has ended', () =>
    withFolder(async (dir) => {
      keepLocalSecret(path.join(dir, 'local-secret'), assert.fail);
      assert.equal(find(dir).tokenFor(new net.Socket()), undefined);
    }));

  it('is found below the mount that hides data.dir', () =>
    withFolder(async (dir) => {
      const mountDir = path.join(dir, 'litefs');
      const dataDir = path.join(mountDir, 'data');
      fs.mkdirSync(dataDir, { recursive: true });
      const secret = keepLocalSecret(path.join(dataDir, 'local-secret'), assert.fail);
      assert.equal(await shownTo(ROOT, find(dataDir, mountDir)), secret);
      execFileSync('mount', ['-t', 'tmpfs', 'litefs-lite-test', mountDir]);
      try {
        // What users have in the mount is no secret of the node.
        fs.mkdirSync(dataDir);
        fs.writeFileSync(path.join(dataDir, 'local-secret'), `${'A'.repeat(43)}\n`, {
          mode: 0o600,
        });
        assert.equal(await shownTo(ROOT, find(dataDir, mountDir)), secret);
      } finally {
        unmount(mountDir);
      }
    }));

  it('that root does not find is looked for elsewhere, or made by the node', () =>
    withFolder((dir) => {
      assert.match(find(dir).hint(), /^There is no \S+\/local-secret\. .*--config FILE/);
      assert.match(noSecret().hint(), /--config FILE.*LITEFS_SECRET/);
      fs.writeFileSync(path.join(dir, 'local-secret'), 'x', { mode: 0o644 });
      assert.match(find(dir).hint(), /is not used: other users may use it\. .*restarted/);
      fs.writeFileSync(path.join(dir, 'file'), '');
      assert.match(find(path.join(dir, 'file')).hint(), /cannot be read: ENOTDIR/);
    }));

  it('is for other users than root to ask root for', () =>
    withFolder(async (dir) => {
      const dataDir = path.join(dir, 'data');
      fs.mkdirSync(dataDir, { mode: 0o700 });
      keepLocalSecret(path.join(dataDir, 'local-secret'), assert.fail);
      fs.chmodSync(dir, 0o755);
      for (const credentials of await asNobody(() => [
        find(dataDir),
        find(path.join(dir, 'none')),
        find(dataDir, dir),
        noSecret(),
      ])) {
        assert.match(credentials.hint(), /^Run it as root .*sudo litefs-lite.*LITEFS_SECRET/);
        assert.equal(await shownTo(ROOT, credentials), undefined);
      }
    }));
});
