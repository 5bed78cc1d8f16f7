/** Which node a command asks: --url, else what the config says, else the default. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type NodeFlags, nodeUrl, repeated } from '../../../src/cli/node-url.ts';
import { LiteFsError } from '../../../src/errors.ts';

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

test('flags are repeated in a command that is proposed, as a shell takes them', () => {
  assert.equal(repeated({}), '');
  assert.equal(
    repeated({ url: 'http://box:1', config: "it's a.yml", dir: '/mnt/nas' }),
    " --url http://box:1 --config 'it'\\''s a.yml' --dir /mnt/nas",
  );
});
