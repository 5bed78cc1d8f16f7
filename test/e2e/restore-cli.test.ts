/** `litefs-lite restore`, `snapshots` and `diff` on an archive alone: no node, no config. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { archiveOf } from '../../src/snapshots/archive.ts';
import { sqlite3 } from '../harness/app.ts';
import { addSnapshot } from '../harness/archived.ts';
import { program, runCli } from '../harness/cli.ts';

const HOUR_MS = 3_600_000;

describe('the command line on an archive', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-test-'));
  const dir = path.join(folder, 'backups');
  const output = path.join(folder, 'out.db');
  const nowMs = Date.now();
  const times = [3, 2, 1].map((hours) => nowMs - hours * HOUR_MS);
  after(() => fs.rmSync(folder, { recursive: true, force: true }));

  /** Transactions 1, 2 and 3, hours apart: the table has as many rows. */
  before(() => {
    const file = path.join(folder, 'live.db');
    sqlite3(file, 'CREATE TABLE t(x)');
    for (const [index, timestampMs] of times.entries()) {
      sqlite3(file, 'INSERT INTO t VALUES(1)');
      const archive = archiveOf(dir, 'app.db').root;
      addSnapshot({ archive, file, txid: index + 1, timestampMs, check: 'full' });
    }
  });

  const restoreTo = (...args: string[]) =>
    runCli(['restore', 'app.db', '--dir', dir, '--output', output, ...args]);
  const local = (ms: number) =>
    new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 23);

  for (const [args, rows] of [
    [[], 3],
    [['--latest'], 3],
    [['--at', '-150m'], 1],
    [['--at=-1h30m'], 2],
    [['--at', local(times[1]).replace('T', ' ')], 2],
    [['--at', new Date(times[1] - 1).toISOString()], 1],
    [['--at', new Date(times[2]).toISOString()], 3],
    [['--txid', '0000000000000002', '--check', 'quick'], 2],
    [['--txid', '1'], 1],
  ] as const) {
    test(`restores ${args.join(' ') || 'the newest'}: ${rows} rows`, async () => {
      const run = await restoreTo(...args);
      assert.equal(run.status, 0, run.stderr);
      assert.equal(
        sqlite3(output, 'SELECT count(*) FROM t; PRAGMA integrity_check'),
        `${rows}\nok`,
      );
      assert.equal(fs.statSync(output).mode & 0o777, 0o600);
      fs.rmSync(output);
    });
  }

  test('says what to name when nothing says where the archives are', async () => {
    const run = await runCli(['snapshots'], { cwd: folder, env: { HOME: folder } });
    assert.equal(run.status, 78);
    assert.match(run.stderr, /--dir DIR, or --config FILE$/m);
  });

  for (const [args, status, message] of [
    [['--at', '-4h'], 66, /nothing that old is kept/],
    [['--txid', '9'], 66, /no files make the state/],
    [['--txid', 'xyz'], 64, /is no transaction.*\n.*snapshots --json lists them/],
    [['--at', 'yesterday'], 64, /is not a time/],
    [['--at', '-1h', '--latest'], 64, /exclude one another/],
    [['--in-place'], 64, /--output and --in-place exclude one another/],
  ] as const) {
    test(`does not restore ${args.join(' ')}`, async () => {
      const run = await restoreTo(...args);
      assert.equal(run.status, status, run.stderr);
      assert.match(run.stderr, message);
      assert(!fs.existsSync(output));
    });
  }

  test('never replaces a file without --force', async () => {
    fs.writeFileSync(output, 'precious');
    const refused = await restoreTo();
    assert.equal(refused.status, 64);
    assert.match(refused.stderr, /out\.db exists/);
    assert.equal(fs.readFileSync(output, 'utf8'), 'precious');
    assert.equal((await restoreTo('--force')).status, 0);
    assert.equal(sqlite3(output, 'SELECT count(*) FROM t'), '3');
    fs.rmSync(output);
  });

  test('shows a bar on a terminal', () => {
    const command = `${program()} restore app.db --dir ${dir} --output ${output}`;
    const shown = execFileSync('script', ['-qec', command, '/dev/null'], { encoding: 'utf8' });
    assert.match(shown, /\[#{30}\] 100 %/);
    fs.rmSync(output);
  });

  test('lists what there is, and what differs', async () => {
    const list = await runCli(['snapshots', 'app.db', '--dir', dir, '--json']);
    const [{ name, snapshots, ranges }] = JSON.parse(list.stdout).databases;
    assert.equal(name, 'app.db');
    assert.deepEqual(
      snapshots.map(({ at }: { at: string }) => Date.parse(at)),
      times.toReversed(),
    );
    assert.equal(ranges.length, 3);
    const args = ['diff', 'app.db', '--dir', dir, '--json'];
    const differs = await runCli([...args, '--from', '-150m', '--to', '-30m']);
    assert.equal(differs.status, 1, differs.stderr);
    assert.deepEqual(JSON.parse(differs.stdout).tables, [
      { table: 't', rowsBefore: 1, rowsAfter: 3, added: 2, removed: 0, schemaChanged: false },
    ]);
    assert.equal((await runCli([...args, '--from', '-30m'])).status, 0);
    const nowhere = await runCli([...args, '--from', '-30m', '--scratch', `${folder}/none`]);
    assert.equal(nowhere.status, 74);
    assert.match(nowhere.stderr, /^litefs-lite: ENOENT: .*\n {2}.*\n$/);
  });

  test('names what is no database by its folder, and reads all others when one cannot be', async () => {
    const copies = path.join(folder, 'copies');
    const app = archiveOf(dir, 'app.db').root;
    for (const name of ['app.db (copy)', 'caf%e9.db', 'app.db']) {
      fs.cpSync(app, path.join(copies, name), { recursive: true });
    }
    fs.rmSync(path.join(copies, 'app.db/ltx/9'), { recursive: true });
    fs.writeFileSync(path.join(copies, 'app.db/ltx/9'), 'no folder');
    const verified = await runCli(['verify', '--snapshots', '--dir', copies]);
    assert.equal(verified.status, 65, verified.stderr);
    assert.match(
      verified.stdout,
      /^app\.db: of .* 1 DAMAGED\n.*ENOTDIR.*\napp\.db \(copy\): ok, .*\ncaf%e9\.db: ok, .*\n$/,
    );
    fs.rmSync(path.join(copies, 'app.db'), { recursive: true });
    assert.equal((await runCli(['snapshots', '--dir', copies])).status, 0);
    const args = ['restore', 'caf%e9.db', '--dir', copies, '--output', output];
    const run = await runCli(args);
    assert.equal(run.status, 0, run.stderr);
    fs.rmSync(output);
  });

  test('ends with one line when nobody reads on, or the disk of its output is full', async () => {
    const command = `${program()} snapshots --json --dir ${dir}`;
    const run = (script: string) => spawnSync('bash', ['-c', script], { encoding: 'utf8' });
    const closed = run(`exec 3> >(exec true); wait $!; ${command} >&3`);
    assert.deepEqual([closed.status, closed.stderr], [141, '']);
    const full = run(`${command} > /dev/full`);
    assert.deepEqual([full.status, full.stderr.split('\n').length], [74, 2], full.stderr);
  });
});
