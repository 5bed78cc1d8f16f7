/**
 * Names of databases that mean something to programs and terminals (row m of the table of the boundary): of what every
 * object in JavaScript has, and with what moves a cursor, ends a line or turns its direction around.
 *
 * On 25311ce a database called `constructor` or `__proto__` broke the status page as long as some node did not have it, and
 * commands printed the other names raw: a user's file could clear the terminal of an administrator, and look like a warning
 * of the node.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, describe, it } from 'node:test';
import Sqlite from 'better-sqlite3';
import type { NodeReport } from '../../src/http/info.ts';
import { databaseNames, nodesOf, placeOf, troublesOf } from '../../src/http/page/client/facts.js';
import { runCli } from '../harness/cli.ts';
import { type Cluster, inSync, startCluster, type TestNode } from '../harness/cluster.ts';

const OF_OBJECTS = ['constructor', '__proto__', 'toString', 'hasOwnProperty', 'valueOf'];
const FORGED = '! box1 has lost its disk';
const COMMANDS = [
  `\x1b[2J\x1b]0;title\x07.db`,
  `a\n${FORGED}`,
  '\u202ebd.mth',
  '\u009b1A.db',
  'x\r.db',
];
const NAMES = [...OF_OBJECTS, 'app/constructor', ...COMMANDS];
const UNPLAIN =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
  /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/;

describe('databases with names of all kinds', () => {
  let cluster: Cluster;
  let primary: TestNode;
  let replica: TestNode;

  before(async () => {
    ({ cluster, primary, replica } = await startCluster('auto'));
    fs.mkdirSync(primary.file('app'));
    for (const name of NAMES) {
      const db = new Sqlite(primary.file(name));
      db.exec('CREATE TABLE t(x); INSERT INTO t VALUES(1)');
      db.close();
      await inSync(primary, replica, name);
    }
  });
  after(() => cluster?.close());

  it('are told of by every route, on both nodes', async () => {
    for (const node of [primary, replica]) {
      for (const route of [
        '/info',
        '/databases',
        '/history',
        '/snapshots',
        '/metrics',
        '/healthz',
        '/',
      ]) {
        const { status } = await node.api(route);
        assert([200, 404].includes(status) && (status === 200 || route === '/databases'), route);
      }
      const told = (await node.info()).databases.map(({ name }) => name);
      assert.deepEqual([...told].sort(), [...NAMES].sort());
      for (const name of NAMES) {
        for (const route of ['/verify', '/export']) {
          const answer = await node.api(`${route}?name=${encodeURIComponent(name)}`);
          assert.equal(answer.status, 200, `${route} of ${JSON.stringify(name)}`);
          assert((await answer.arrayBuffer()).byteLength > 0);
        }
      }
      for (const path of ['/constructor', '/__proto__', '/hasOwnProperty']) {
        assert.equal((await node.api(path)).status, 404, path);
      }
    }
    const metrics = await (await primary.api('/metrics')).text();
    for (const name of OF_OBJECTS) {
      const lag = new RegExp(`litefs_lite_replica_lag_transactions\\{.*database="${name}"\\} 0`);
      assert.match(metrics, lag);
    }
  });

  it('have their places on the status page', async () => {
    const none = (info: NodeReport) => ({
      ...info,
      replicas: info.replicas.map((each) => ({ ...each, positions: {} })),
    });
    for (const info of [await primary.info(), await replica.info(), none(await primary.info())]) {
      assert.deepEqual(databaseNames(info), [...NAMES].sort());
      for (const node of nodesOf(info)) {
        for (const name of NAMES) placeOf(info, node, name);
      }
      assert.deepEqual(troublesOf(info, Date.now()), []);
    }
  });

  it('are shown by commands as text, each in a line of its own', async () => {
    for (const node of [primary, replica]) {
      for (const command of ['status', 'verify', 'doctor', 'status --json', 'verify --json']) {
        const words = command.split(' ');
        const run = await runCli([...words, '--config', node.configFile]);
        assert.doesNotMatch(run.stdout + run.stderr, UNPLAIN, command);
        const lines = `${run.stdout}${run.stderr}`.split('\n');
        assert(!lines.some((line) => line.trim().startsWith(FORGED)), `${command}: ${run.stdout}`);
        if (command === 'doctor') continue;
        assert.equal(run.status, 0, `${command} of the ${node.name}: ${run.stdout}${run.stderr}`);
        if (!command.includes('json')) continue;
        const told = JSON.parse(run.stdout) as NodeReport | { name: string }[];
        const names = 'databases' in told ? told.databases : told;
        assert.deepEqual(names.map(({ name }) => name).sort(), [...NAMES].sort());
      }
    }
    const where = ['--config', primary.configFile];
    for (const name of COMMANDS.slice(0, 2)) {
      const wrong = await runCli(['verify', `${name}2`, ...where]);
      assert.notEqual(wrong.status, 0);
      assert.doesNotMatch(wrong.stderr, UNPLAIN);
      assert(!wrong.stderr.split('\n').some((line) => line.startsWith(FORGED)));
    }
  });
});
