/**
 * A node joins the primary that its config names as long as it has no databases, whatever it was before: the package
 * starts it as a primary by itself, and `init --token` and a restart make it a replica.
 *
 * On 25311ce a primary's first start founded a cluster. The first, second and fourth node here were refused for ever
 * ("belongs to cluster …"), the last one was told to empty its data directory, and /info showed the id of a cluster without
 * databases.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { sqlite3 } from '../harness/app.ts';
import { runCli } from '../harness/cli.ts';
import { Cluster, inSync, type TestNode, until } from '../harness/cluster.ts';

const CREATE = 'CREATE TABLE t(x)';
const ROWS = 'SELECT x FROM t';

describe('a node', () => {
  let cluster: Cluster;
  beforeEach(() => {
    cluster = new Cluster();
  });
  afterEach(() => cluster.close());

  /** A machine of that name with its data as they are, on which the role is what the config now says. */
  const primary = (name: string): Promise<TestNode> =>
    cluster.add(name, { candidate: true, passthrough: 'auto' });
  const replica = (name: string, of: TestNode): Promise<TestNode> =>
    cluster.add(name, {
      candidate: false,
      passthrough: 'auto',
      primaryPort: of.replicationPort,
    });
  const nodeFile = (node: TestNode) =>
    JSON.parse(fs.readFileSync(path.join(node.data, 'node.json'), 'utf8'));

  /** box1 is a primary with a database; box2 was one, did that, and has stopped. */
  async function twoAlone(done: (box2: TestNode) => void): Promise<TestNode> {
    const [box1, alone] = [await primary('box1'), await primary('box2')];
    await Promise.all([box1.start(), alone.start()]);
    assert.equal((await box1.info()).clusterID, '', 'without databases it belongs to none');
    sqlite3(box1.file('app.db'), `${CREATE}; INSERT INTO t VALUES('of box1')`);
    done(alone);
    await alone.stop();
    return box1;
  }

  test('that was a primary without databases joins, and the doctor knows that it will', async () => {
    const box1 = await twoAlone(() => {});
    const box2 = await replica('box2', box1);
    assert.notEqual(nodeFile(box2).clusterId, nodeFile(box1).clusterId);
    const config = path.join(cluster.dir, 'box2.yml');
    const settings = {
      fuse: { dir: box2.mount },
      data: { dir: box2.data },
      http: { addr: '127.0.0.1:0' },
      lease: { type: 'static', candidate: false },
      replication: { primary: `127.0.0.1:${box1.replicationPort}`, addr: '127.0.0.1:0' },
    };
    fs.writeFileSync(config, JSON.stringify(settings));
    const { stdout } = await runCli(['doctor', '--config', config]);
    assert.match(stdout, /accepted by both sides/);
    assert.doesNotMatch(stdout, /belongs to cluster/);
    await box2.start();
    await inSync(box1, box2, 'app.db');
    assert.equal(sqlite3(box2.file('app.db'), ROWS), 'of box1');
    const { clusterID, term } = await box1.info();
    assert.match(clusterID, /^[0-9a-f]{16}$/);
    const joined = await box2.info();
    assert.deepEqual([joined.clusterID, joined.term], [clusterID, term]);
    assert.equal(nodeFile(box2).clusterId, clusterID);
  });

  test('that had a database of the same name once, and dropped it, joins as well', async () => {
    const box1 = await twoAlone((alone) => {
      sqlite3(alone.file('app.db'), `${CREATE}; INSERT INTO t VALUES('to try it out')`);
      fs.rmSync(alone.file('app.db'));
    });
    const box2 = await replica('box2', box1);
    await box2.start();
    await inSync(box1, box2, 'app.db');
    assert.equal(sqlite3(box2.file('app.db'), ROWS), 'of box1');
  });

  test('with a database of its own is refused, and keeps it and its cluster, also over restarts', async () => {
    const box1 = await twoAlone((alone) => {
      sqlite3(alone.file('own.db'), `${CREATE}; INSERT INTO t VALUES('of box2')`);
    });
    const box2 = await replica('box2', box1);
    const own = nodeFile(box2);
    for (let start = 0; start < 2; start++) {
      const from = box2.log.length;
      box2.launch();
      await box2.logged(/^refused by .* belongs to cluster/, from);
      assert.equal((await box2.info()).clusterID, own.clusterId);
      assert.equal(sqlite3(box2.file('own.db'), ROWS), 'of box2');
      await box2.stop();
      assert.equal(nodeFile(box2).clusterId, own.clusterId);
    }
  });

  test('follows a primary that has no databases either, and gets the first one under its cluster', async () => {
    const [box1, alone] = [await primary('box1'), await primary('box2')];
    await Promise.all([box1.start(), alone.start()]);
    await alone.stop();
    const box2 = await replica('box2', box1);
    await box2.start();
    for (const node of [box1, box2]) assert.equal((await node.info()).clusterID, '');
    sqlite3(box1.file('app.db'), `${CREATE}; INSERT INTO t VALUES('first')`);
    await inSync(box1, box2, 'app.db');
    const { clusterId } = nodeFile(box1);
    for (const node of [box1, box2]) assert.equal((await node.info()).clusterID, clusterId);
    assert.equal(nodeFile(box2).clusterId, clusterId);
    await box1.logged(new RegExp(`^cluster ${clusterId} is founded with the first database`));
    // The database binds it: another primary, whatever it has, does not get this node.
    const box3 = await primary('box3');
    await box3.start();
    await box2.stop();
    const astray = await replica('box2', box3);
    astray.launch();
    await astray.logged(/^refused by .* is a primary without databases/);
    assert.equal(nodeFile(astray).clusterId, clusterId);
    assert.equal(sqlite3(astray.file('app.db'), ROWS), 'first');
  });

  test('that comes back while its primary has lost its disk keeps what it has', async () => {
    const box1 = await primary('box1');
    await box1.start();
    sqlite3(box1.file('app.db'), `${CREATE}; INSERT INTO t VALUES('the only copy')`);
    const box2 = await replica('box2', box1);
    await box2.start();
    await inSync(box1, box2, 'app.db');
    await box1.kill();
    fs.rmSync(box1.data, { recursive: true });
    await box1.start();
    await until('box2 is refused', () => /refused by .* make .* the primary/.test(box2.logText()));
    assert.equal(sqlite3(box2.file('app.db'), ROWS), 'the only copy');
    assert.equal(fs.existsSync(path.join(box2.data, 'divergence', 'app.db')), false);
  });
});
