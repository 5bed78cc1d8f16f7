/** The app that a node runs: behind `--` on the command line, or as `exec` in the config. */
import assert from 'node:assert/strict';
import os from 'node:os';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { mountAt } from '../../src/os/mounts.ts';
import { said, shell, shellText, sqlite3 } from '../harness/app.ts';
import { Cluster, inSync, type TestNode, until } from '../harness/cluster.ts';

const CREATE = 'CREATE TABLE IF NOT EXISTS t(x)';

describe('the app of a node', () => {
  let cluster: Cluster;
  beforeEach(() => {
    cluster = new Cluster();
  });
  afterEach(() => cluster.close());

  const primary = (exec?: unknown): Promise<TestNode> =>
    cluster.add('primary', {
      candidate: true,
      passthrough: 'auto',
      config: exec === undefined ? {} : { exec },
    });
  const replicaOf = (node: TestNode, exec: unknown): Promise<TestNode> =>
    cluster.add('replica', {
      candidate: false,
      passthrough: 'auto',
      primaryPort: node.replicationPort,
      config: { exec },
    });

  test('gets its arguments as they are, and learns from its environment where it is', async () => {
    const node = await primary();
    const script = 'say "$LITEFS_DIR|$LITEFS_IS_PRIMARY|$LITEFS_PRIMARY"; for a; do say "$a"; done';
    node.launch(['--', ...shell(script), 'sh', 'two  words', '-config', "it's", '']);
    assert.equal(await node.exited, 0, node.logText());
    assert.deepEqual(said(node), [
      `${node.mount}|true|${os.hostname()}`,
      'two  words',
      '-config',
      "it's",
      '',
    ]);
  });

  for (const [how, script, status] of [
    ['its exit status', 'exit 7', 7],
    ['128 and the signal that ended it', 'kill -KILL $$', 128 + os.constants.signals.SIGKILL],
  ] as const) {
    test(`ends the node, whose exit status is ${how}`, async () => {
      const node = await primary();
      node.launch(['--', ...shell(script)]);
      assert.equal(await node.exited, status, node.logText());
      assert.equal(mountAt(node.mount), undefined, 'nothing is left mounted');
    });
  }

  test('that cannot be run is an error in the config, and nothing stays mounted', async () => {
    const node = await primary();
    node.launch(['--', 'no-such-program-at-all']);
    assert.equal(await node.exited, 78);
    assert.match(node.logText(), /cannot run no-such-program-at-all/);
    assert.equal(mountAt(node.mount), undefined);
  });

  test('is sent SIGTERM, also when it is the terminal that goes, and still has its databases until it has ended', async () => {
    const node = await primary();
    const script = `
      sqlite3 "$LITEFS_DIR/app.db" "PRAGMA journal_mode=wal; ${CREATE}" >/dev/null
      trap 'sleep 0.3; sqlite3 "$LITEFS_DIR/app.db" "INSERT INTO t VALUES(42)"; exit 5' TERM
      say ready
      stay`;
    await node.start(['--', ...shell(script)]);
    await until('the app runs', () => said(node).includes('ready'));
    process.kill(node.pid, 'SIGHUP');
    assert.equal(await node.exited, 5, node.logText());
    assert.equal(sqlite3(node.backing('app.db'), 'SELECT x FROM t'), '42');
    assert.equal(mountAt(node.mount), undefined);
  });

  test('that does not heed SIGTERM is killed at the second one', async () => {
    const node = await primary();
    await node.start(['--', ...shell(`trap '' TERM; say ready; stay`)]);
    await until('the app runs', () => said(node).includes('ready'));
    process.kill(node.pid, 'SIGTERM');
    await node.logged(/^stopping: SIGTERM/);
    process.kill(node.pid, 'SIGTERM');
    assert.equal(await node.exited, 128 + os.constants.signals.SIGKILL, node.logText());
    assert.equal(mountAt(node.mount), undefined);
  });

  test('finds its first write on the replica', async () => {
    const node = await primary(
      shellText(`sqlite3 "$LITEFS_DIR/app.db" "${CREATE}; INSERT INTO t VALUES(1)"; stay`),
    );
    const replica = await replicaOf(
      node,
      shellText(
        'say "$LITEFS_IS_PRIMARY|$LITEFS_PRIMARY|$(sqlite3 "$LITEFS_DIR/app.db" "SELECT x FROM t")"',
      ),
    );
    await node.start();
    await until('the app has written', async () => (await node.position('app.db')) !== '');
    replica.launch();
    assert.equal(await replica.exited, 0, replica.logText());
    assert.deepEqual(said(replica), [`false|${os.hostname()}|1`], 'it is started when in sync');
  });

  test('may be a list: in order, the last one stays, some on a candidate alone', async () => {
    const exec = [
      {
        cmd: shellText(`say migrate; sqlite3 "$LITEFS_DIR/app.db" "${CREATE}"`),
        'if-candidate': true,
      },
      { cmd: shellText('say serve; trap "exit 0" TERM; stay') },
    ];
    const node = await primary(exec);
    const replica = await replicaOf(node, exec);
    for (const each of [node, replica]) {
      await each.start();
      await until('it serves', () => said(each).includes('serve'));
    }
    assert.deepEqual(said(node), ['migrate', 'serve']);
    assert.deepEqual(said(replica), ['serve']);
    await inSync(node, replica, 'app.db');
    assert.equal(sqlite3(replica.file('app.db'), 'SELECT name FROM sqlite_schema'), 't');
    assert.equal(await replica.stop(), 0);
    assert.equal(await node.stop(), 0);
  });

  test('of a list that fails is the last', async () => {
    const node = await primary([
      { cmd: shellText('say first; exit 3') },
      { cmd: shellText('say second') },
    ]);
    node.launch();
    assert.equal(await node.exited, 3);
    assert.deepEqual(said(node), ['first']);
  });

  test('in the config gives way to one on the command line', async () => {
    const node = await primary(shellText('say config'));
    node.launch(['--', ...shell('say line')]);
    assert.equal(await node.exited, 0);
    assert.deepEqual(said(node), ['line']);
  });
});
