/** The doctor on real nodes: all well, a wrong secret, a primary that is down, a port that another has. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Finding } from '../../src/cli/doctor/finding.ts';
import { sqlite3 } from '../harness/app.ts';
import { runCli } from '../harness/cli.ts';
import {
  type Cluster,
  freePorts,
  inSync,
  startCluster,
  type TestNode,
  until,
} from '../harness/cluster.ts';
import { clearMountPoint } from '../harness/mount-points.ts';

const SECRET = 'hush, this is of all the nodes';
const OTHER_SECRET = 'and this is of some other nodes';

describe('doctor', () => {
  let cluster: Cluster;
  let primary: TestNode;
  let replica: TestNode;
  const config = (node: TestNode) => path.join(node.dir, 'litefs.yml');

  before(async () => {
    ({ cluster, primary, replica } = await startCluster('auto', {
      config: { replication: { secret: SECRET }, lease: { 'advertise-url': 'http://127.0.0.1:1' } },
    }));
    sqlite3(primary.file('app.db'), 'CREATE TABLE t(x)');
    await inSync(primary, replica, 'app.db');
    const heard = async () => (await replica.info()).upstream?.clockAheadMs !== null;
    await until('the replica has heard the clock of the primary', heard);
  });
  after(() => cluster?.close());

  const examine = async (file: string) => {
    const { status, stdout, stderr } = await runCli(['doctor', '--json', '--config', file]);
    const { ok, findings } = JSON.parse(stdout || stderr) as { ok: boolean; findings: Finding[] };
    assert.equal(status, ok ? 0 : 1);
    const of = (check: string) => findings.filter((each) => each.check === check);
    const failed = findings.filter(({ verdict }) => verdict === 'fail');
    return { findings, of, failed, stdout };
  };
  /** The replica's config with something else in it. */
  const changed = (name: string, section: string, fields: object): string => {
    const value = JSON.parse(fs.readFileSync(config(replica), 'utf8'));
    value[section] = { ...value[section], ...fields };
    const file = path.join(cluster.dir, name);
    fs.writeFileSync(file, JSON.stringify(value), { mode: 0o600 });
    return file;
  };

  test('all is well: on both nodes, and nothing on the primary has noticed', async () => {
    const from = primary.log.length;
    const before = (await primary.info()).replicas;
    for (const node of [primary, replica]) {
      const { failed, of } = await examine(config(node));
      assert.deepEqual(failed, []);
      assert.match(of('databases')[0].text, /^1, all of them ok$/);
      assert.equal(of('port').length, 2);
      for (const { text } of of('port')) assert.match(text, /taken by this node/);
      assert.match(of('mount')[0].text, /is mounted$/);
      assert.match(of('guard')[0].text, /^nobody writes in/);
      assert.deepEqual(
        ['primary', 'secret', 'clock'].map((check) => of(check)[0]?.verdict),
        node === replica ? ['ok', 'ok', 'ok'] : [undefined, undefined, undefined],
      );
    }
    assert.deepEqual((await primary.info()).replicas, before);
    const noticed = primary.log.slice(from).filter(({ level }) => level !== 'debug');
    assert.deepEqual(noticed, []);
  });

  test('as text: a line for each check, and a sum', async () => {
    const { status, stdout } = await runCli(['doctor', '--config', config(replica)]);
    assert.equal(status, 0, stdout);
    assert.match(stdout, /^ok {4}secret +accepted by both sides$/m);
  });

  test('a wrong secret', async () => {
    const { failed } = await examine(
      changed('secret.yml', 'replication', { secret: OTHER_SECRET }),
    );
    assert.deepEqual(
      failed.map(({ check }) => check),
      ['secret'],
    );
    assert.match(failed[0].hint ?? '', /litefs-lite init --token/);
  });

  test('a directory for snapshots that cannot be written', async () => {
    const none = path.join(cluster.dir, 'none/below');
    const { failed } = await examine(changed('dir.yml', 'snapshots', { dir: none, on: 'any' }));
    assert.deepEqual(
      failed.map(({ check }) => check),
      ['archives'],
    );
    assert.match(failed[0].text, /no snapshots can be written to .*: ENOENT$/);
  });

  test('something else listens where the primary should, and where the node should', async () => {
    const server = net.createServer((socket) => socket.end('220 mail\r\n'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as net.AddressInfo;
    try {
      const address = `127.0.0.1:${port}`;
      const first = await examine(changed('mail.yml', 'replication', { primary: address }));
      assert.match(first.failed[0].text, /does not answer as a node/);
      const second = await examine(changed('taken.yml', 'replication', { addr: address }));
      assert.match(second.failed[0].text, new RegExp(`taken by .* \\(${process.pid}\\)`));
    } finally {
      server.close();
    }
  });

  test('another node has our port', async () => {
    const { failed } = await examine(
      changed('foreign.yml', 'fuse', { dir: `${cluster.dir}/elsewhere` }),
    );
    assert(failed.some(({ text }) => /is not this one/.test(text)));
  });

  test('the config is wrong: that is said, and the machine is looked at all the same', async () => {
    const file = path.join(cluster.dir, 'wrong.yml');
    fs.writeFileSync(file, 'fuse: {dri: /x}\n');
    const { failed, of } = await examine(file);
    assert.match(failed[0].text, /wrong\.yml:1:8: fuse\.dri/);
    assert.equal(of('fuse')[0].verdict, 'ok');
  });

  test('the primary is down', async () => {
    await primary.stop();
    const { failed } = await examine(config(replica));
    assert.deepEqual(
      failed.map(({ check }) => check),
      ['primary'],
    );
    assert.match(failed[0].text, /nobody answers at 127\.0\.0\.1:\d+: .*ECONNREFUSED/);
  });

  test('the node does not run: that is no failure', async () => {
    const [port] = await freePorts(1);
    await replica.stop();
    const file = changed('stopped.yml', 'http', { addr: `127.0.0.1:${port}` });
    const { of, failed } = await examine(file);
    assert.equal(of('node')[0].verdict, 'warn');
    assert.match(of('mount')[0].text, /is empty, and can be mounted/);
    assert.equal(of('guard')[0].verdict, 'ok');
    assert.deepEqual(
      failed.map(({ check }) => check),
      ['primary'],
    );
    clearMountPoint(replica.mount);
    const [guard] = (await examine(file)).of('guard');
    assert.deepEqual(
      [guard.verdict, /^litefs-lite mount-point guard;/.test(guard.hint ?? '')],
      ['warn', true],
    );
  });
});
