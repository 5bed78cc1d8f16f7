/** Which node a command asks: --url, else what the config says, else the default. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type NodeFlags, nodeAt, nodeUrl, repeated } from '../../../src/cli/node-url.ts';
import { LiteFsError } from '../../../src/errors.ts';
import { keepLocalSecret } from '../../../src/store/local-secret.ts';

describe('the URL of the node', () => {
  let cwd: string;
  before(() => {
    cwd = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-url-'));
  });
  after(() => fs.rmSync(cwd, { recursive: true, force: true }));
  const ask = (flags: NodeFlags, env = {}) => nodeUrl(flags, { env, cwd, expandEnv: true });
  const withFile = (text: string, env = {}) => {
    fs.writeFileSync(path.join(cwd, 'a.yml'), text);
    return ask({ config: 'a.yml' }, env);
  };
  const codeOf = (attempt: () => unknown) => {
    try {
      attempt();
    } catch (error) {
      if (error instanceof LiteFsError) return error.code;
      throw error;
    }
    return undefined;
  };

  test('is what --url says, also without http://', () => {
    assert.equal(ask({ url: 'https://box:1', config: 'none.yml' }), 'https://box:1');
    assert.equal(ask({ url: '127.0.0.1:31202' }), 'http://127.0.0.1:31202');
    assert.equal(ask({ url: 'localhost:31202' }), 'http://localhost:31202');
    for (const url of ['', ':31202', 'ftp://x', 'a b']) {
      assert.equal(
        codeOf(() => ask({ url })),
        'USAGE',
        url,
      );
    }
  });

  test('else what the named config says, as this machine reaches it', () => {
    assert.equal(withFile('http: {addr: ":31202"}'), 'http://127.0.0.1:31202');
    assert.equal(withFile('http: {addr: "[::1]:7"}'), 'http://[::1]:7');
    assert.equal(withFile('http: {addr: "$A:8"}', { A: '10.0.0.7' }), 'http://10.0.0.7:8');
    assert.equal(withFile('data: {dir: /x}'), 'http://127.0.0.1:20202');
    assert.equal(
      codeOf(() => ask({ config: 'none.yml' })),
      'CONFIG',
    );
  });

  test('else what is found, else the default', () => {
    assert.equal(ask({}), 'http://127.0.0.1:20202');
    fs.writeFileSync(path.join(cwd, 'litefs.yml'), 'http: {addr: ":31203"}');
    assert.equal(ask({}), 'http://127.0.0.1:31203');
  });

  test('needs none of the secrets that the file takes from the environment', () => {
    const secret = `replication: {secret: "\${LITEFS_SECRET}"}`;
    assert.equal(withFile(`${secret}\nhttp: {addr: ":9"}`), 'http://127.0.0.1:9');
    assert.throws(() => withFile(`http: {addr: "\${PORT}"}`), /a\.yml:1:15: .*PORT is not defined/);
    assert.throws(() => withFile('http: {addr: ":9'), /a\.yml:1:\d+: not valid YAML/);
  });
});

describe('what a node may be shown', () => {
  let cwd: string;
  let secret: string;
  before(() => {
    cwd = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-shown-'));
    secret = keepLocalSecret(path.join(cwd, 'local-secret'), assert.fail);
  });
  after(() => fs.rmSync(cwd, { recursive: true, force: true }));

  /** What is shown over a connection of this process to itself at the URL's host. */
  async function shown(flags: NodeFlags, config: string, env = {}): Promise<string | undefined> {
    fs.writeFileSync(path.join(cwd, 'litefs.yml'), `data: {dir: "."}\n${config}`);
    const { credentials } = nodeAt(flags, { env, cwd, expandEnv: true });
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const socket = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1');
    try {
      await once(socket, 'connect');
      return credentials().tokenFor(socket);
    } finally {
      socket.destroy();
      server.close();
    }
  }

  test('is its local secret, when it is the node of the config', async () => {
    const addr = 'http: {addr: "127.0.0.1:31202"}';
    for (const flags of [
      {},
      { config: 'litefs.yml' },
      { url: 'http://127.0.0.1:31202' },
      { url: '127.0.0.1:31202/' },
      { url: 'localhost:31202', config: 'litefs.yml' },
    ]) {
      assert.equal(await shown(flags, addr), secret, JSON.stringify(flags));
    }
    assert.equal(await shown({ url: 'localhost:31202' }, 'http: {addr: ":31202"}'), secret);
    assert.equal(await shown({ url: '[::1]:7' }, 'http: {addr: "[::1]:7"}'), secret);
  });

  test('is nothing, when it is another: the secret of one node is not for the next', async () => {
    for (const [url, addr] of [
      ['http://127.0.0.1:31203', '127.0.0.1:31202'],
      ['http://127.0.0.2:31202', '127.0.0.1:31202'],
      ['https://127.0.0.1:31202', '127.0.0.1:31202'],
      ['http://box1:31202', ':31202'],
      ['http://10.0.0.1:31202', ':31202'],
      ['http://localhost:31202', '10.0.0.1:31202'],
      ['http://127.0.0.1:31202@evil.example:31202', '127.0.0.1:31202'],
    ]) {
      assert.equal(await shown({ url }, `http: {addr: "${addr}"}`), undefined, url);
    }
  });

  test('is what LITEFS_SECRET has, whichever node it is, and whatever the config', async () => {
    const env = { LITEFS_SECRET: 'sesame' };
    for (const flags of [{}, { url: 'http://box1:31202' }]) {
      assert.equal(await shown(flags, 'http: {addr: ":31202"}', env), 'sesame');
    }
    assert.equal(await shown({ url: 'http://box1' }, 'no: {config', env), 'sesame');
  });

  test('needs of the file only what it is about', async () => {
    const other = `replication: {secret: "\${LITEFS_SECRET}"}\nlease: {candidate: 7}`;
    assert.equal(await shown({}, other), secret);
    await assert.rejects(shown({}, `fuse: {dir: 7}`), { code: 'CONFIG' });
  });
});

test('flags are repeated in a command that is proposed, as a shell takes them', () => {
  assert.equal(repeated({}), '');
  assert.equal(
    repeated({ url: 'http://box:1', config: "it's a.yml", dir: '/mnt/nas' }),
    " --url http://box:1 --config 'it'\\''s a.yml' --dir /mnt/nas",
  );
});
