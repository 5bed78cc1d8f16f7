/** What is wrong with a config is said with its place and what to write; and where a config is looked for. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { findConfigFile, loadConfig, searchPath } from '../../../src/config/load.ts';
import { parse, problems } from './parse.ts';

const REPLICA = 'lease: {candidate: false, advertise-url: "http://box1:20202"}\n';

describe('mistakes', () => {
  for (const [text, ...expected] of [
    ['fuse: {dri: /x}', /^f\.yml:1:8: fuse\.dri is not a known key: did you mean dir\?$/],
    ['data: {retentionBytes: 5}', /did you mean retention-bytes\?$/],
    [
      'lease:\n  exec: x',
      /^f\.yml:2:3: lease\.exec is not a known key: it belongs at the left margin$/,
    ],
    ['candidate: true', /^f\.yml:1:1: candidate is not a known key: it belongs under lease:$/],
    [
      'http: {wibble: 1}',
      /the keys here are addr, socket, hosts, status-token, status-token-file, snapshot-timeout$/,
    ],
    ['exec: [{cmd: a, if-candidat: true}]', /exec\[0\]\.if-candidat .*did you mean if-candidate\?/],
    ['exec: [{if-candidate: true}]', /^f\.yml:1:8: exec\[0\]\.cmd is missing$/],
    ['exec: [{cmd: a, group: b}]', /^f\.yml:1:24: exec\[0\]\.group needs user beside it$/],
    ['exec: [{cmd: a, user: "b c"}]', /exec\[0\]\.user is not a user or a group: write a name/],
    [
      'exec: [{cmd: a, env: {S: "s", ON: yes, OFF: true}}]',
      /^f\.yml:1:17: exec\[0\]\.env has OFF, which is not text: put it in quotes$/,
    ],
    ['exec: [{cmd: a, env: {"A=B": c}}]', /exec\[0\]\.env has a name that no variable can have$/],
    ['exec: [{cmd: a, env: [b]}]', /exec\[0\]\.env must be a group of keys/],
    ['exec: [{cmd: a, env: {S: "x\0y"}}]', /exec\[0\]\.env has S, with a NUL in it$/],
    ['exec: "a | b"', /^f\.yml:1:7: exec holds a \|/],
    [
      'log: {format: jsno}',
      /^f\.yml:1:15: log\.format must be auto, text or json: did you mean json\?$/,
    ],
    ['lease: {hostname: 東京}', /^f\.yml:1:19: lease\.hostname is not a host name: write letters/],
    ['lease: {hostname: "a\\nb"}', /^f\.yml:1:19: lease\.hostname is not a host name/],
    ['lease: {hostname: ""}', /^f\.yml:1:19: lease\.hostname is empty/],
    ['skip-sync: "true"', /must be true or false, without quotes$/],
    ['lease: {hostname: 5}', /must be text: put it in quotes$/],
    ['lease: {databases: a.db}', /must be a list/],
    ['data: /x', /^f\.yml:1:7: data must be a group of keys/],
    ['data: {dir: ""}', /data\.dir is empty/],
    ['a: 1\na: 2', /^f\.yml:2:1: not valid YAML: a key that is already there/],
    ['fuse: {dir: /x', /^f\.yml:1:\d+: not valid YAML/],
    ['\tfuse: 1', /not valid YAML/],
    [
      'data: {retention: 5}\nhttp: {addr: 80}',
      /^f\.yml:1:19: data\.retention/,
      /^f\.yml:2:14: http\.addr/,
    ],
  ] as const) {
    test(JSON.stringify(text), () => {
      const found = problems(text);
      assert.equal(found.length, expected.length, found.join('\n'));
      for (const [i, pattern] of expected.entries()) assert.match(found[i], pattern);
    });
  }
});

describe('contradictions', () => {
  for (const [what, text, pattern] of [
    [
      'a short secret',
      'replication: {secret: "correct horse battery"}',
      /^f\.yml:1:23: replication\.secret can be guessed: .*openssl rand -hex 32$/,
    ],
    [
      'a secret of few letters',
      'replication: {secret: "abababababababababababababababab"}',
      /replication\.secret can be guessed/,
    ],
    [
      'a replica without a primary',
      'lease: {candidate: false}',
      /^f\.yml:1:20: lease\.candidate is false, so .*advertise-url/,
    ],
    [
      'a replica that follows itself',
      'lease: {candidate: false}\nreplication: {addr: "10.0.0.2:7", primary: "10.0.0.2:7"}',
      /^f\.yml:2:44: replication\.primary leads to 10\.0\.0\.2:7, which is this node itself/,
    ],
    [
      'a replica that follows its own loopback',
      'lease: {candidate: false, advertise-url: "http://127.0.0.1:20202"}',
      /^f\.yml:1:42: lease\.advertise-url leads to 127\.0\.0\.1:20204, which is this node itself/,
    ],
    [
      'a port that nobody knows',
      `${REPLICA}replication: {addr: ":0"}`,
      /replication\.addr has port 0/,
    ],
    [
      'one directory for both',
      'fuse: {dir: /x}\ndata: {dir: /x/}',
      /fuse\.dir is the same as data\.dir/,
    ],
    ['a mount in the data', 'fuse: {dir: /x/m}\ndata: {dir: /x}', /fuse\.dir lies in data\.dir/],
    [
      'one port twice',
      'http: {addr: ":1"}\nreplication: {addr: "h:1"}',
      /replication\.addr :?h?:?1 is taken by http\.addr/,
    ],
    [
      'a proxy without a target',
      'proxy: {addr: ":1", db: a.db}',
      /proxy\.addr needs proxy\.target/,
    ],
    [
      'a proxy that other nodes would have to reach by TLS',
      'proxy:\n  advertise: https://box1\n  on-write: redirect',
      /^f\.yml:2:14: proxy\.advertise is https, .* write "http:\/\//,
    ],
  ] as const) {
    test(what, () => {
      const found = problems(text);
      assert.equal(found.length, 1, found.join('\n'));
      assert.match(found[0], pattern);
    });
  }

  test('a proxy by TLS is none where only browsers are sent to it', () => {
    const proxy = 'proxy: {advertise: "https://box1", on-write: redirect, on-stale: "504"}';
    assert.deepEqual(problems(proxy), []);
  });

  test('one port on two addresses, and any free port twice, are none', () => {
    assert.deepEqual(problems('http: {addr: "10.0.0.1:1"}\nreplication: {addr: "10.0.0.2:1"}'), []);
    assert.deepEqual(problems('http: {addr: ":0"}\nreplication: {addr: ":0"}'), []);
  });
});

test('a replica that is told of two primaries is warned which it follows', () => {
  const primary = 'replication: {primary: "box1:9"}';
  const at = (host: string) => `lease: {candidate: false, advertise-url: "http://${host}:20202"}`;
  assert.deepEqual(parse(`${primary}\n${at('box1')}`).warnings, []);
  const [warning] = parse(`${primary}\n${at('box2')}`).warnings;
  assert.match(warning, /^replication\.primary leads to box1, lease\.advertise-url to box2/);
});

test('the primary of a replica: the host of the URL with our own port, or what is said', () => {
  const url = 'lease: {candidate: false, advertise-url: "http://[fd00::1]:20202"}\n';
  assert.deepEqual(parse(`${url}replication: {addr: ":7"}`).config.replication.primary, {
    host: 'fd00::1',
    port: 7,
  });
  const said = parse(`${url}replication: {primary: "box2:9"}`).config.replication.primary;
  assert.deepEqual(said, { host: 'box2', port: 9 });
});

test('directories are relative to the working directory', () => {
  const { fuse, data } = parse('fuse: {dir: m}\ndata: {dir: ../d}').config;
  assert.deepEqual([fuse.dir, data.dir], ['/srv/m', '/d']);
});

test('the search path: ours, the working directory, the home, /etc; the first that is there', (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-config-'));
  t.after(() => fs.rmSync(dir, { recursive: true }));
  const [cwd, home] = [path.join(dir, 'cwd'), path.join(dir, 'home')];
  for (const each of [cwd, home]) fs.mkdirSync(each);
  assert.deepEqual(searchPath({ env: { HOME: home }, cwd }), [
    '/etc/litefs-lite.yml',
    `${cwd}/litefs.yml`,
    `${home}/litefs.yml`,
    '/etc/litefs.yml',
  ]);
  assert.equal(searchPath({ env: {}, cwd }).length, 3);
  const places = [`${cwd}/litefs.yml`, `${home}/litefs.yml`];
  assert.equal(findConfigFile(places), undefined);
  fs.writeFileSync(places[1], 'skip-sync: true');
  assert.equal(findConfigFile(places), places[1]);
  fs.writeFileSync(places[0], 'skip-sync: false');
  assert.equal(findConfigFile(places), places[0]);
  const loaded = loadConfig('../home/litefs.yml', { env: {}, cwd, expandEnv: true });
  assert.deepEqual([loaded.file, loaded.config.skipSync], [places[1], true]);
});

test('a file that is absent, a directory or far too large is an error that names it', (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-config-'));
  t.after(() => fs.rmSync(dir, { recursive: true }));
  const surroundings = { env: {}, cwd: dir, expandEnv: true };
  const code = 'CONFIG';
  assert.throws(() => loadConfig('none.yml', surroundings), { code, message: /none\.yml/ });
  assert.throws(() => loadConfig('.', surroundings), { code, message: new RegExp(dir) });
  fs.writeFileSync(path.join(dir, 'big.yml'), Buffer.alloc(2 ** 20 + 1, '#'));
  assert.throws(() => loadConfig('big.yml', surroundings), { code, message: /larger than 1 MiB/ });
});

test('a file with the secret in it is for nobody else to read; one that has it from the environment is', () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-test-'));
  try {
    const secret = '0123456789abcdef0123456789abcdef';
    const file = path.join(dir, 'litefs.yml');
    const load = (env = {}) => loadConfig(file, { env, cwd: dir, expandEnv: true });
    fs.writeFileSync(file, `replication: {secret: "${secret}"}`);
    fs.chmodSync(file, 0o644);
    assert.throws(load, (error: { code: string; message: string; hint: string }) => {
      assert.deepEqual([error.code, error.hint], ['CONFIG', `Run: chmod o-rwx ${file}`]);
      assert.match(error.message, /every user of this machine may read it$/);
      assert(!error.message.includes(secret));
      return true;
    });
    fs.chmodSync(file, 0o640);
    assert.equal(load().config.replication.secret, secret);
    fs.writeFileSync(file, `replication: {secret: "\${SECRET}"}`);
    fs.chmodSync(file, 0o644);
    assert.equal(load({ SECRET: secret }).config.replication.secret, secret);
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});
