/** Which node a command asks: --url, else what the config says, else the default. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type NodeFlags, nodeAt, repeated } from '../../../src/cli/node-url.ts';
import { loadConfig } from '../../../src/config/load.ts';
import { LiteFsError } from '../../../src/errors.ts';

describe('the URL of the node', () => {
  let cwd: string;
  before(() => {
    cwd = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-url-'));
  });
  after(() => fs.rmSync(cwd, { recursive: true, force: true }));
  const ask = (flags: NodeFlags, env = {}) => nodeAt(flags, { env, cwd, expandEnv: true }).url;
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

  test('is the default for a user who may not read the config, or not look whether there is one', () => {
    const home = path.join(cwd, 'home');
    fs.mkdirSync(home, { mode: 0o700 });
    const surroundings = { env: { HOME: home }, cwd: '/', expandEnv: true };
    process.seteuid?.(65534);
    try {
      assert.equal(nodeAt({}, surroundings).url, 'http://127.0.0.1:20202');
      assert.throws(() => loadConfig(undefined, surroundings), {
        code: 'CONFIG',
        message: /cannot read the config file .*EACCES/,
        hint: /sudo litefs-lite/,
      });
    } finally {
      process.seteuid?.(0);
    }
  });

  test('needs none of the secrets that the file takes from the environment', () => {
    const secret = `replication: {secret: "\${LITEFS_SECRET}"}`;
    assert.equal(withFile(`${secret}\nhttp: {addr: ":9"}`), 'http://127.0.0.1:9');
    assert.throws(() => withFile(`http: {addr: "\${PORT}"}`), /a\.yml:1:15: .*PORT is not defined/);
    assert.throws(() => withFile('http: {addr: ":9'), /a\.yml:1:\d+: not valid YAML/);
  });
});

describe('the socket of the node', () => {
  let cwd: string;
  before(() => {
    cwd = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-socket-'));
  });
  after(() => fs.rmSync(cwd, { recursive: true, force: true }));
  const find = (flags: NodeFlags, config: string, env = {}) => {
    fs.writeFileSync(path.join(cwd, 'litefs.yml'), config);
    return nodeAt(flags, { env, cwd, expandEnv: true }).socket();
  };
  const BY_PORT = '/run/litefs-lite/31202.sock';

  test('goes by the port of the node, or is what the config says', () => {
    assert.equal(find({}, 'http: {addr: ":31202"}'), BY_PORT);
    assert.equal(find({ config: 'litefs.yml' }, 'http: {addr: "10.0.0.1:31202"}'), BY_PORT);
    assert.equal(find({}, 'data: {dir: /x}'), '/run/litefs-lite/20202.sock');
    assert.equal(find({}, 'http: {socket: /run/own.sock}'), '/run/own.sock');
    assert.equal(find({}, `http: {socket: "\${DIR}/a"}`, { DIR: '/run' }), '/run/a');
    for (const wrong of ['own.sock', `/${'x'.repeat(107)}`, '']) {
      assert.throws(() => find({}, `http: {socket: "${wrong}"}`), { code: 'CONFIG' });
    }
  });

  test('is that of the config, also when --url leads to its node', () => {
    const addr = 'http: {addr: "127.0.0.1:31202"}';
    for (const flags of [
      { url: 'http://127.0.0.1:31202' },
      { url: '127.0.0.1:31202/' },
      { url: 'localhost:31202', config: 'litefs.yml' },
    ]) {
      assert.equal(find(flags, addr), BY_PORT, JSON.stringify(flags));
    }
    assert.equal(find({ url: 'localhost:31202' }, 'http: {addr: ":31202"}'), BY_PORT);
    assert.equal(find({ url: '[::1]:31202' }, 'http: {addr: "[::1]:31202"}'), BY_PORT);
  });

  test('is none when --url leads to another node', () => {
    for (const [url, addr] of [
      ['http://127.0.0.1:31203', '127.0.0.1:31202'],
      ['http://127.0.0.2:31202', '127.0.0.1:31202'],
      ['https://127.0.0.1:31202', '127.0.0.1:31202'],
      ['http://box1:31202', ':31202'],
      ['http://10.0.0.1:31202', ':31202'],
      ['http://localhost:31202', '10.0.0.1:31202'],
      ['http://127.0.0.1:31202@evil.example:31202', '127.0.0.1:31202'],
    ]) {
      assert.equal(find({ url }, `http: {addr: "${addr}"}`), undefined, url);
    }
  });

  test('is not looked for where there is a URL and LITEFS_SECRET', () => {
    const env = { LITEFS_SECRET: 'sesame' };
    assert.equal(find({ url: 'http://box1' }, 'no: {config', env), undefined);
    assert.equal(find({ url: 'http://127.0.0.1:31202' }, 'http: {addr: ":31202"}', env), undefined);
    assert.equal(find({}, 'http: {addr: ":31202"}', env), BY_PORT);
    assert.equal(nodeAt({ url: 'box1' }, { env, cwd, expandEnv: true }).secret, 'sesame');
    assert.equal(nodeAt({ url: 'box1' }, { env: {}, cwd, expandEnv: true }).secret, undefined);
  });

  test('needs of the file only what it is about', () => {
    const other = `replication: {secret: "\${LITEFS_SECRET}"}\nlease: {candidate: 7}`;
    assert.equal(find({}, other), '/run/litefs-lite/20202.sock');
  });
});

test('flags are repeated in a command that is proposed, as a shell takes them', () => {
  assert.equal(repeated({}), '');
  assert.equal(
    repeated({ url: 'http://box:1', config: "it's a.yml", dir: '/mnt/nas' }),
    " --url http://box:1 --config 'it'\\''s a.yml' --dir /mnt/nas",
  );
});
