/**
 * A replica's verify says "the same as on the primary" only when both sides' own pages were read. On 25311ce nothing was read on
 * the primary: with a page damaged there the command said "ok", "the same as on the primary", and ended with 0. So it did with
 * the primary gone, and with one that cannot read its pages for others. Under a writer it mostly said nothing of the primary.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, it } from 'node:test';
import type { VerifyReport } from '../../src/http/info.ts';
import { FEATURE_VERIFY } from '../../src/replication/messages.ts';
import { sqlite3 } from '../harness/app.ts';
import { runCli } from '../harness/cli.ts';
import { Cluster, inSync, type TestNode, until } from '../harness/cluster.ts';
import { turnByteUnseen } from '../harness/damage.ts';
import { type FrameRelay, frameRelay } from '../harness/frame-relay.ts';
import { whileEngineStands } from '../harness/paused-thread.ts';
import { untilCopied } from '../harness/replicated.ts';

const WRITER = path.resolve(import.meta.dirname, '../harness/writer.ts');
const EXIT_DATA = 65;
const EXIT_CANNOT_TELL = 75;
const PAGE_BYTES = 4096;
const FILL = `CREATE TABLE t(x);
  WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 400)
  INSERT INTO t SELECT randomblob(1000) FROM n`;

let cluster: Cluster;
let primary: TestNode;
let replica: TestNode;
let relay: FrameRelay | undefined;

beforeEach(async () => {
  cluster = new Cluster();
  primary = await cluster.add('primary', { candidate: true, passthrough: 'auto' });
  await primary.start();
  sqlite3(primary.file('app.db'), FILL);
});
afterEach(async () => {
  await cluster.close();
  relay?.close();
  relay = undefined;
});

async function follow(port = primary.replicationPort, name = 'replica'): Promise<TestNode> {
  const node = await cluster.add(name, {
    candidate: false,
    passthrough: 'auto',
    primaryPort: port,
  });
  await node.start();
  await inSync(primary, node, 'app.db');
  return node;
}

async function verify(node: TestNode): Promise<VerifyReport> {
  return (await (await node.api('/verify?name=app.db')).json()) as VerifyReport;
}

const command = (node: TestNode) => runCli(['verify', 'app.db', '--config', node.configFile]);

/** Past the mount, and without an event. */
function damage(node: TestNode, pgno: number): void {
  const at = (pgno - 1) * PAGE_BYTES + 2000;
  turnByteUnseen(node.backing('app.db'), at, path.join(node.data, 'unseen'));
}

it('says that they are the same when both have read all pages', async () => {
  replica = await follow();
  const { status, stdout } = await command(replica);
  assert.equal(status, 0, stdout);
  const pages = fs.statSync(primary.backing('app.db')).size / PAGE_BYTES;
  assert.match(
    stdout,
    new RegExp(
      `^app\\.db: ok at [0-9a-f]{16}/[0-9a-f]{16}, ${pages} pages, the same as on the primary \\(both sides' pages were read\\)\n$`,
    ),
  );
  const report = await verify(replica);
  assert.deepEqual(
    [report.sameAsPrimary, report.notCompared, report.primary?.pages],
    [true, null, pages],
  );
  assert.equal(report.primary?.position, report.position);
});

it('finds a page that is damaged on the primary', async () => {
  replica = await follow();
  damage(primary, 30);
  const { status, stdout } = await command(replica);
  assert.equal(status, EXIT_DATA, stdout);
  assert.match(
    stdout,
    /^app\.db: BAD on the primary at \S+: 1 of \d+ pages are not what .*; pages 30\n$/,
  );
  const { ok, sameAsPrimary, primary: there } = await verify(replica);
  assert.deepEqual([ok, there?.ok, there?.badPages, sameAsPrimary], [true, false, [30], false]);
});

it('finds a page that is damaged on the replica', async () => {
  replica = await follow();
  await untilCopied({ primary, replica }, 'app.db');
  damage(replica, 20);
  const { ok, badPages, sameAsPrimary, primary: there } = await verify(replica);
  assert.deepEqual([ok, badPages, there?.ok, sameAsPrimary], [false, [20], true, false]);
  await replica.logged(/app\.db is in sync again/);
  assert.equal((await verify(replica)).sameAsPrimary, true);
});

for (const mode of ['wal', 'delete']) {
  it(`tells under a writer that never rests, journal_mode=${mode}`, async () => {
    replica = await follow();
    sqlite3(primary.file('app.db'), 'DROP TABLE t');
    const node = path.resolve(import.meta.dirname, '../../scripts/node');
    const writer = spawn(node, [WRITER, primary.file('app.db'), mode, 'NORMAL']);
    let written = 0;
    writer.stdout.on('data', (text: Buffer) => {
      written += text.toString('latin1').split('\n').length - 1;
    });
    try {
      await until('it writes', () => written > 20);
      for (let round = 0; round < 8; round++) {
        const before = written;
        const { ok, sameAsPrimary, notCompared, primary: there } = await verify(replica);
        assert.deepEqual([ok, there?.ok, sameAsPrimary], [true, true, true], `${notCompared}`);
        await until('it goes on', () => written > before);
      }
    } finally {
      const ended = new Promise((resolve) => writer.on('exit', resolve));
      writer.kill('SIGKILL');
      await ended;
    }
  });
}

it('cannot tell when the primary is gone', async () => {
  replica = await follow();
  await primary.kill();
  await until('it knows', async () => (await replica.info()).upstream?.connected === false);
  const { status, stdout } = await command(replica);
  assert.equal(status, EXIT_CANNOT_TELL, stdout);
  assert.match(stdout, /^app\.db: ok at .* pages, not compared: there is no connection to .*\n$/);
  const { ok, sameAsPrimary, primary: there } = await verify(replica);
  assert.deepEqual([ok, sameAsPrimary, there], [true, null, null]);
});

it('cannot tell when the connection is lost while the primary reads', async () => {
  relay = await frameRelay(primary.replicationPort);
  replica = await follow(relay.port);
  const report = await whileEngineStands(primary, async () => {
    const asked = verify(replica);
    await until('the primary is asked', () => relay?.sent('VERIFY') === 1);
    relay?.cut();
    return asked;
  });
  assert.deepEqual([report.ok, report.sameAsPrimary], [true, null]);
  assert.equal(report.notCompared, 'the connection to the primary was lost');
});

it('cannot tell when the primary runs a release that does not know how', async () => {
  relay = await frameRelay(primary.replicationPort, FEATURE_VERIFY);
  replica = await follow(relay.port);
  const { status, stdout } = await command(replica);
  assert.equal(status, EXIT_CANNOT_TELL, stdout);
  assert.match(stdout, /, not compared: \S+ runs a release that cannot verify for others/);
  assert.equal(relay.sent('VERIFY'), 0);
  assert.equal((await replica.info()).upstream?.connected, true);
});

it('has the primary asked by the replica in between, and not that', async () => {
  const middle = await follow(primary.replicationPort, 'middle');
  replica = await follow(middle.replicationPort);
  assert.equal((await verify(replica)).sameAsPrimary, true);
  damage(middle, 10);
  assert.equal((await verify(replica)).sameAsPrimary, true);
  damage(primary, 30);
  const { primary: there, sameAsPrimary } = await verify(replica);
  assert.deepEqual([there?.badPages, sameAsPrimary], [[30], false]);
});
