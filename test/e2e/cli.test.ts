/** The commands beside `mount`: their output, their exit status, and what they say when something is wrong. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { NodeReport, VerifyReport } from '../../src/http/info.ts';
import { VERSION } from '../../src/version.ts';
import { sqlite3 } from '../harness/app.ts';
import { LAUNCHER, runCli } from '../harness/cli.ts';
import {
  type Cluster,
  freePorts,
  inSync,
  startCluster,
  type TestNode,
  until,
} from '../harness/cluster.ts';

const EXIT_USAGE = 64;
const EXIT_DATA = 65;
const EXIT_NO_INPUT = 66;
const EXIT_UNAVAILABLE = 69;
const EXIT_CONFIG = 78;

describe('commands that ask a running node', () => {
  let cluster: Cluster;
  let primary: TestNode;
  let replica: TestNode;
  const url = (node: TestNode) => ['--url', `http://127.0.0.1:${node.httpPort}`];
  const config = (node: TestNode) => ['--config', node.configFile];

  before(async () => {
    ({ cluster, primary, replica } = await startCluster('auto'));
    sqlite3(
      primary.file('app.db'),
      'PRAGMA journal_mode=wal; CREATE TABLE t(x); INSERT INTO t VALUES(1)',
    );
    sqlite3(primary.file('log.db'), 'CREATE TABLE t(x)');
    await inSync(primary, replica, 'app.db');
    await inSync(primary, replica, 'log.db');
    const caughtUp = async () => {
      const { databases, replicas } = await primary.info();
      return databases.every(({ name, position }) => replicas[0]?.positions[name] === position);
    };
    await until('the primary knows that the replica has everything', caughtUp);
    const told = async () => {
      const positions = (await replica.info()).upstream?.positions ?? {};
      return 'app.db' in positions && 'log.db' in positions;
    };
    await until('a heartbeat has told the replica where the primary is', told);
  });
  after(() => cluster?.close());

  test('status of a primary: its databases and its replicas, as a table', async () => {
    const { status, stdout } = await runCli(['status', ...url(primary)]);
    assert.equal(status, 0, stdout);
    const position = await primary.position('app.db');
    assert.match(stdout, new RegExp(`^${os.hostname()} is the primary\n`));
    assert.match(stdout, /^DATABASE +POSITION +BEHIND +SIZE +MODE +LOG +STATE$/m);
    assert.match(stdout, new RegExp(`^app\\.db +${position} +- +8\\.0 KiB +wal .* ok$`, 'm'));
    assert.match(stdout, /^log\.db .* rollback .* ok$/m);
    assert.match(stdout, /^REPLICA +ADDRESS +CONNECTED SINCE +BEHIND$/m);
    assert.match(stdout, /nothing$/m);
  });

  test('status of a replica: whom it follows, and how far behind each database is', async () => {
    const { status, stdout } = await runCli(['status', ...url(replica)]);
    assert.equal(status, 0, stdout);
    assert.match(stdout, new RegExp(`is the replica of ${os.hostname()}, \\d+ ms behind\n`));
    const position = await replica.position('app.db');
    assert.match(stdout, new RegExp(`^app\\.db +${position} +0 `, 'm'));
    assert.doesNotMatch(stdout, /^REPLICA /m);
  });

  test('asks the node of the config that is named, or found in the working directory', async () => {
    const named = await runCli(['status', ...config(replica)]);
    assert.equal(named.status, 0, named.stderr);
    assert.match(named.stdout, / is the replica of /);
    const found = await runCli(['verify', 'app.db'], { cwd: replica.dir });
    assert.equal(found.status, 0, found.stderr);
    assert.match(found.stdout, /, the same as on the primary /);
  });

  test('status --json is what the API tells', async () => {
    const { status, stdout } = await runCli(['status', '--json', ...url(primary)]);
    assert.equal(status, 0);
    const report = JSON.parse(stdout) as NodeReport;
    assert.equal(report.isPrimary, true);
    assert.equal(report.path, primary.mount);
    assert.deepEqual(report.databases.map(({ name }) => name).sort(), ['app.db', 'log.db']);
    assert.equal(report.replicas[0].nodeId, (await replica.info()).nodeID);
  });

  test('verify: every database, or one; on a replica compared with the primary', async () => {
    const all = await runCli(['verify', ...config(primary)]);
    assert.equal(all.status, 0, all.stdout);
    assert.match(all.stdout, /^app\.db: ok at [0-9a-f]{16}\/[0-9a-f]{16}, 2 pages$/m);
    assert.match(all.stdout, /^log\.db: ok at /m);

    const one = await runCli(['verify', 'log.db', ...config(replica)]);
    assert.equal(one.status, 0, one.stdout);
    assert.match(one.stdout, /^log\.db: ok at .*, 2 pages, the same as on the primary \(.*\)\n$/);

    const json = await runCli(['verify', '--json', 'app.db', ...config(replica)]);
    const [verdict] = JSON.parse(json.stdout) as VerifyReport[];
    assert.deepEqual([verdict.name, verdict.ok, verdict.sameAsPrimary], ['app.db', true, true]);
  });

  test('verify names the page that is damaged below, and ends with 65', async () => {
    const file = replica.backing('log.db');
    const whole = fs.readFileSync(file);
    const damaged = Buffer.from(whole);
    damaged[damaged.length - 1] ^= 1;
    fs.writeFileSync(file, damaged);
    try {
      const { status, stdout } = await runCli(['verify', 'log.db', ...config(replica)]);
      assert.equal(status, EXIT_DATA);
      assert.match(stdout, /^log\.db: BAD at .*; pages 2$/m);
    } finally {
      fs.writeFileSync(file, whole);
    }
  });

  test('a database that is not there is named', async () => {
    const { status, stderr } = await runCli(['verify', 'no.db', ...config(primary)]);
    assert.equal(status, EXIT_NO_INPUT);
    assert.match(stderr, /^litefs-lite: .*no\.db/);
  });

  test('no node at the address: says so, with a hint', async () => {
    const [port] = await freePorts(1);
    const { status, stderr } = await runCli(['status', '-url', `http://127.0.0.1:${port}`]);
    assert.equal(status, EXIT_UNAVAILABLE);
    assert.match(stderr, new RegExp(`^litefs-lite: no node answers at http://127.0.0.1:${port}`));
    assert.match(stderr, /systemctl status litefs-lite/);
  });

  test('ltx list, dump and verify on the log of a database', async () => {
    const folder = path.join(primary.data, 'ltx', 'app.db');
    const files = fs.readdirSync(folder).map((name) => path.join(folder, name));
    const list = await runCli(['ltx', 'list', '--json', ...files]);
    assert.equal(list.status, 0, list.stderr);
    const rows = JSON.parse(list.stdout) as { maxTxid: string; post: string; pageSize: number }[];
    assert.equal(rows.at(-1)?.post, await primary.position('app.db'));
    assert.equal(rows.at(-1)?.pageSize, 4096);
    const table = await runCli(['ltx', 'list', ...files]);
    assert.match(table.stdout, /^FROM +TO +AFTER IT +WHEN +PAGE SIZE +PAGES +SIZE$/m);
    assert.equal(table.stdout.trim().split('\n').length, rows.length + 1);

    const dump = await runCli(['ltx', 'dump', files[0]]);
    assert.equal(dump.status, 0, dump.stderr);
    assert.match(dump.stdout, /^minTxid: +0000000000000001$/m);
    assert.match(dump.stdout, /^pages: +1\b/m);
    assert.match(dump.stdout, /^fileChecksum: +[0-9a-f]{16}$/m);

    const good = await runCli(['ltx', 'verify', ...files]);
    assert.equal(good.status, 0, good.stdout);
    assert.match(good.stdout, /: ok, \d+ entr(y|ies)$/m);
  });

  test('ltx verify tells a damaged file from a good one, and ends with 65', async () => {
    const folder = path.join(primary.data, 'ltx', 'app.db');
    const good = path.join(folder, fs.readdirSync(folder)[0]);
    const bad = path.join(cluster.dir, path.basename(good));
    const bytes = fs.readFileSync(good);
    bytes[bytes.length >> 1] ^= 0xff;
    fs.writeFileSync(bad, bytes);
    const { status, stdout } = await runCli(['ltx', 'verify', good, bad]);
    assert.equal(status, EXIT_DATA);
    assert.match(stdout, new RegExp(`^${good}: ok, `, 'm'));
    assert.match(stdout, new RegExp(`^${bad}: DAMAGED: `, 'm'));
  });
});

describe('commands that need no node', () => {
  let dir: string;
  before(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-cli-'));
  });
  after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const configFile = (name: string, text: string) => {
    const file = path.join(dir, name);
    fs.writeFileSync(file, text);
    return file;
  };

  test('config check of a good file says what it means, without the secret', async () => {
    const file = configFile(
      'good.yml',
      `fuse: {dir: m}\ndata: {dir: d}\nreplication: {secret: "\${SECRET}"}\nexec: "serve --port 80"\n`,
    );
    const env = { SECRET: 'rumpelstiltskin, whom nobody knows' };
    const { status, stdout } = await runCli(['config', 'check', file], { cwd: dir, env });
    assert.equal(status, 0);
    assert.ok(stdout.startsWith(`${file} is right:\n  this node is the primary\n`), stdout);
    assert.ok(stdout.includes(`in ${dir}/m and kept in ${dir}/d\n`), stdout);
    assert.match(stdout, /with a secret\n/);
    assert.match(stdout, /runs: serve --port 80\n/);
    const json = await runCli(['config', 'check', '--json', file], { cwd: dir, env });
    assert.equal(JSON.parse(json.stdout).config.lease.candidate, true);
    assert.doesNotMatch(stdout + json.stdout, /rumpelstiltskin/);
  });

  test('config check says when snapshots are cut next; a wrong time is no start', async () => {
    const snapshots = `snapshots: {dir: b, schedule: ["0 3 * * *", "0 15 * * *"], timezone: UTC}`;
    const file = configFile('times.yml', `fuse: {dir: m}\ndata: {dir: d}\n${snapshots}\n`);
    const { status, stdout } = await runCli(['config', 'check', file], { cwd: dir });
    assert.equal(status, 0);
    const times = /the next ones: (.*)/.exec(stdout)?.[1].split(', ') ?? [];
    assert.equal(times.length, 3, stdout);
    for (const time of times) assert.match(time, /^\d{4}-\d\d-\d\d (03|15):00:00 UTC$/);
    const wrong = configFile('wrong-time.yml', snapshots.replace('0 15', '60 15'));
    for (const command of [
      ['config', 'check', wrong],
      ['mount', '-config', wrong],
    ]) {
      const run = await runCli(command, { cwd: dir });
      assert.equal(run.status, EXIT_CONFIG, run.stdout);
      assert.match(
        run.stderr,
        /wrong-time\.yml:1:\d+: snapshots\.schedule.* is not a cron expression/,
      );
    }
  });

  test('config check of a wrong file names each place and what to write, and ends with 78', async () => {
    const file = configFile('bad.yml', 'fuse:\n  dri: /x\ndata:\n  retention: 5\n');
    const { status, stdout, stderr } = await runCli(['config', 'check', file]);
    assert.equal(status, EXIT_CONFIG);
    assert.equal(stdout, '');
    assert.ok(
      stderr.includes(`${file}:2:3: fuse.dri is not a known key: did you mean dir?`),
      stderr,
    );
    assert.ok(stderr.includes(`${file}:4:14: data.retention is a number without a unit`), stderr);
  });

  test('config check finds the file of the working directory; a missing one is named', async () => {
    configFile('litefs.yml', 'log: {debug: true}\n');
    const found = await runCli(['config', 'check'], { cwd: dir });
    assert.equal(found.status, 0, found.stderr);
    assert.ok(found.stdout.startsWith(path.join(dir, 'litefs.yml')), found.stdout);
    const missing = await runCli(['config', 'check', '-config', 'none.yml'], { cwd: dir });
    assert.equal(missing.status, EXIT_CONFIG);
    assert.ok(missing.stderr.includes(path.join(dir, 'none.yml')), missing.stderr);
  });

  test('config schema is JSON Schema with every section in it', async () => {
    const { status, stdout } = await runCli(['config', 'schema']);
    assert.equal(status, 0);
    const schema = JSON.parse(stdout);
    assert.match(schema.$schema, /draft-07/);
    for (const section of ['exec', 'data', 'fuse', 'http', 'replication', 'lease', 'log']) {
      assert.ok(schema.properties[section], section);
    }
  });

  test('version', async () => {
    for (const asked of ['version', '--version']) {
      const { status, stdout } = await runCli([asked]);
      assert.equal(status, 0);
      assert.equal(stdout, `litefs-lite ${VERSION}, node ${process.versions.node}\n`);
    }
  });

  test('help lists the commands, and is no error', async () => {
    const { status, stdout } = await runCli(['--help']);
    assert.equal(status, 0);
    for (const command of ['mount', 'status', 'verify', 'ltx', 'config', 'version']) {
      assert.match(stdout, new RegExp(`^  ${command}\\b`, 'm'));
    }
    const mount = await runCli(['mount', '--help']);
    assert.equal(mount.status, 0);
    assert.match(mount.stdout, /--skip-unmount/);
  });

  test('an unknown command or flag is a usage error, with a suggestion', async () => {
    const command = await runCli(['statsu']);
    assert.equal(command.status, EXIT_USAGE);
    assert.match(command.stderr, /unknown command 'statsu'\n\(Did you mean status\?\)/);
    const flag = await runCli(['status', '--jsn']);
    assert.equal(flag.status, EXIT_USAGE);
    assert.match(flag.stderr, /unknown option '--jsn'\n\(Did you mean --json\?\)/);
  });

  test('an .ltx file that is not there is named', async () => {
    const { status, stderr } = await runCli(['ltx', 'list', 'none.ltx'], { cwd: dir });
    assert.equal(status, EXIT_USAGE);
    assert.match(stderr, /^litefs-lite: cannot read none\.ltx/);
    fs.writeFileSync(path.join(dir, 'bad.ltx'), 'LTX1');
    for (const how of ['list', 'dump']) {
      const damaged = await runCli(['ltx', how, 'bad.ltx'], { cwd: dir });
      assert.match(damaged.stderr, /^litefs-lite: bad\.ltx: LTX file is shorter/);
    }
  });

  test('a directory in the place of a file is a usage error', async () => {
    for (const command of [
      ['ltx', 'list', dir],
      ['import', 'app.db', dir],
      ['export', 'app.db', dir, '--force'],
    ]) {
      const { status, stderr } = await runCli(command);
      assert.equal(status, EXIT_USAGE, stderr);
      assert.ok(stderr.startsWith(`litefs-lite: ${dir} is a directory`), stderr);
    }
    // A damaged file is told of, and the next one is looked at; so it is with this.
    const { status, stdout } = await runCli(['ltx', 'verify', dir]);
    assert.equal(status, EXIT_DATA);
    assert.match(stdout, /: DAMAGED: .* is a directory$/m);
  });

  test('runs from a checkout through a symbolic link, from anywhere', async () => {
    const bin = path.join(dir, 'linked');
    fs.symlinkSync(LAUNCHER, bin);
    const { status, stdout } = await runCli(['version'], { cwd: '/', bin });
    assert.equal(status, 0);
    assert.match(stdout, /^litefs-lite /);
  });
});
