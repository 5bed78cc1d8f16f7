/** Configs that people have from LiteFS: every field that it knows is taken, and what changes nothing is said once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse, problems } from './parse.ts';

/** What an entry of exec has that says no more. */
const AS_IN_LITEFS = { user: undefined, group: undefined, env: {}, cleanEnv: false };

const EVERY_FIELD = `
exit-on-error: false
skip-sync: true
strict-verify: true
exec:
  - cmd: "migrate --all"
    if-candidate: true
  - cmd: "serve"
data: {dir: /data, compress: false, retention: 1h, retention-monitor-interval: 5m}
fuse: {dir: /mnt, allow-other: true, debug: true}
http: {addr: ":1", snapshot-timeout: 1m}
proxy:
  addr: ":2"
  target: "localhost:8080"
  db: app.db
  max-lag: 5s
  debug: true
  passthrough: ["*.png", "/static/*"]
  always-forward: ["/login"]
  primary-redirect-timeout: 1s
  read-timeout: 1s
  read-header-timeout: 1s
  write-timeout: 1s
  idle-timeout: 1s
lease:
  type: static
  hostname: box1
  advertise-url: "http://box1.lan:20202"
  candidate: false
  promote: true
  reconnect-delay: 2s
  demote-delay: 3s
  databases: [a.db]
backup: {type: litefs-cloud, path: /b, url: "https://x", cluster: c, auth-token: t}
log: {format: text, timestamp: true, debug: true}
tracing: {enabled: true, path: /t, max-size: 64, max-count: 10, compress: true}
`;

test('every field of LiteFS is accepted, and means what it means there', () => {
  const { config } = parse(EVERY_FIELD);
  assert.deepEqual(config, {
    exitOnError: false,
    skipSync: true,
    strictVerify: true,
    verifyPeriodMs: 86_400_000,
    exec: [
      { argv: ['migrate', '--all'], ifCandidate: true, ...AS_IN_LITEFS },
      { argv: ['serve'], ifCandidate: false, ...AS_IN_LITEFS },
    ],
    data: {
      dir: '/data',
      compress: false,
      retentionMs: 3_600_000,
      retentionBytes: 2 ** 31,
      retentionMonitorIntervalMs: 300_000,
    },
    fuse: {
      dir: '/mnt',
      allowOther: true,
      debug: true,
      passthrough: 'auto',
      waitForOldHandlesMs: 10_000,
      ownership: { mode: undefined },
    },
    http: {
      addr: { host: undefined, port: 1 },
      socket: undefined,
      hosts: [],
      statusToken: undefined,
      statusTokenFile: undefined,
    },
    replication: {
      addr: { host: undefined, port: 20204 },
      primary: { host: 'box1.lan', port: 20204 },
      secret: undefined,
      secretFile: undefined,
    },
    lease: {
      hostname: 'box1',
      advertiseUrl: 'http://box1.lan:20202/',
      candidate: false,
      reconnectDelayMs: 2000,
      databases: ['a.db'],
    },
    proxy: {
      addr: { host: undefined, port: 2 },
      target: { host: 'localhost', port: 8080 },
      databases: ['app.db'],
      advertise: undefined,
      onWrite: 'forward',
      onStale: 'forward',
      readYourWritesMs: 5000,
      websocket: 'local',
      responseHeaders: true,
      replayBodyBytesMax: 2 ** 20,
      replayMemoryBytesMax: 2 ** 26,
      maxLagMs: 5000,
      debug: true,
      passthrough: ['*.png', '/static/*'],
      alwaysForward: ['/login'],
      trusted: [],
      primaryMs: 1000,
      requestMs: 1000,
      headersMs: 1000,
      answerMs: 1000,
      idleMs: 1000,
      progressMs: 60_000,
      connectionsMax: 16_384,
      connectionsPerAddressMax: 1024,
    },
    snapshots: undefined,
    log: { format: 'text', timestamp: true, debug: true },
  });
});

test('an empty file is a primary with the defaults of LiteFS', () => {
  const { config, warnings } = parse('');
  assert.deepEqual(warnings, []);
  assert.equal(config.exitOnError, true);
  assert.deepEqual(config.exec, []);
  assert.equal(config.data.dir, '/var/lib/litefs');
  assert.equal(config.data.compress, true);
  assert.equal(config.data.retentionMs, 600_000);
  assert.equal(config.data.retentionMonitorIntervalMs, 60_000);
  assert.equal(config.fuse.dir, '/litefs');
  assert.equal(config.fuse.allowOther, false);
  assert.equal(config.http.addr.port, 20202);
  assert.equal(config.lease.candidate, true);
  assert.equal(config.lease.reconnectDelayMs, 1000);
});

test('an empty section is as good as none', () => {
  assert.deepEqual(parse('data:\nlease:\nfuse:\n').config, parse('').config);
});

test('what has no effect is said in one warning, sections by their own name, each once', () => {
  const { warnings } = parse(EVERY_FIELD);
  assert.equal(warnings.length, 1);
  const named = [...warnings[0].matchAll(/([a-z.-]+) \(/g)].map(([, name]) => name);
  assert.deepEqual(named.sort(), [
    'backup',
    'http.snapshot-timeout',
    'lease.demote-delay',
    'lease.promote',
    'tracing',
  ]);
});

test('exec may be one command', () => {
  assert.deepEqual(parse(`exec: "sh -c 'a b'"`).config.exec, [
    { argv: ['sh', '-c', 'a b'], ifCandidate: false, ...AS_IN_LITEFS },
  ]);
});

test("a tutorial's consul lease is refused, with what to write instead", () => {
  const wrong = problems('lease:\n  type: consul\n  consul: {url: "http://c:8500", key: k}\n');
  assert.equal(wrong.length, 2);
  assert.match(
    wrong[0],
    /^f\.yml:2:9: lease\.type cannot be consul.*type: static, candidate: true/,
  );
  assert.match(wrong[1], /^f\.yml:3:3: lease\.consul has no place here: remove it/);
});

test('data in the mount, as in the tutorial, is no contradiction', () => {
  const text = 'fuse: {dir: /var/lib/litefs}\ndata: {dir: /var/lib/litefs/data}\n';
  assert.deepEqual(problems(text), []);
});

test('YAML 1.1 words for true and false, as LiteFS takes them', () => {
  const { config } = parse('skip-sync: yes\nlease: {candidate: On}\ndata: {compress: no}\n');
  assert.deepEqual(
    [config.skipSync, config.lease.candidate, config.data.compress],
    [true, true, false],
  );
});
