/** The app beside the daemon, with real processes: order, exit status, signals, environment. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import { Supervisor } from '../../../src/daemon/supervise.ts';
import { until } from '../../harness/cluster.ts';
import { withFolder } from '../os/folder.ts';

interface Stand {
  /** For these commands, one after the other. */
  supervise(...commands: string[][]): Supervisor;
  /** What the scripts wrote to `$LITEFS_DIR/said`, line by line. */
  said(): string[];
  readonly logged: string[];
}

function withApps(body: (stand: Stand) => Promise<void>): Promise<void> {
  return withFolder(async (folder) => {
    const logged: string[] = [];
    const log = pino({}, { write: (line) => void logged.push(JSON.parse(line).msg) });
    const environment = {
      LITEFS_DIR: folder,
      LITEFS_PRIMARY: 'node-a',
      LITEFS_IS_PRIMARY: 'false',
    };
    const started: Supervisor[] = [];
    const supervise = (...commands: string[][]) => {
      const exec = commands.map((argv) => ({ argv, ifCandidate: false }));
      const supervisor = new Supervisor(exec, environment, SECRET, log);
      started.push(supervisor);
      return supervisor;
    };
    const said = () => {
      const file = path.join(folder, 'said');
      return fs.existsSync(file) ? fs.readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];
    };
    try {
      await body({ supervise, said, logged });
    } finally {
      for (const supervisor of started) supervisor.stop('SIGKILL');
    }
  });
}

const SECRET = 'what the nodes share';
const shell = (script: string) => ['sh', '-c', script];
const say = (text: string) => `echo "${text}" >> "$LITEFS_DIR/said"`;
/** Says so when it is there, and goes round until a signal comes: a shell that waits may miss one. */
const stay = `${say('ready')}; while :; do :; done`;

test('commands run one after the other; the status of the last is that of all', () =>
  withApps(async ({ supervise, said, logged }) => {
    const slow = `i=0; while [ $i -lt 5000 ]; do i=$((i + 1)); done; ${say('first')}`;
    const supervisor = supervise(shell(slow), shell(say('second')), shell('exit 7'));
    assert.equal(await supervisor.run(), 7);
    assert.deepEqual(said(), ['first', 'second']);
    assert.match(logged.at(-1) ?? '', /exited with status 7/);
  }));

test('a command that fails is the last', () =>
  withApps(async ({ supervise, said }) => {
    assert.equal(await supervise(shell('exit 3'), shell(say('never'))).run(), 3);
    assert.deepEqual(said(), []);
  }));

test('without commands there is nothing to fail', () =>
  withApps(async ({ supervise }) => {
    assert.equal(await supervise().run(), 0);
  }));

test('no command sees the secret of the nodes, whatever its variable is called', () =>
  withApps(async ({ supervise, said }) => {
    process.env.LITEFS_SECRET = 'another';
    process.env.OURS = SECRET;
    try {
      await supervise(shell(say('[$LITEFS_SECRET] [$OURS]'))).run();
      assert.deepEqual(said(), ['[] []']);
    } finally {
      delete process.env.LITEFS_SECRET;
      delete process.env.OURS;
    }
  }));

test('a command sees our environment and what it needs to know of the mount', () =>
  withApps(async ({ supervise, said }) => {
    await supervise(shell(say('$LITEFS_PRIMARY $LITEFS_IS_PRIMARY $PATH'))).run();
    assert.deepEqual(said(), [`node-a false ${process.env.PATH}`]);
  }));

test('a signal reaches the command, which may end as it likes', () =>
  withApps(async ({ supervise, said, logged }) => {
    const supervisor = supervise(shell(`trap '${say('bye')}; exit 5' TERM; ${stay}`));
    const ended = supervisor.run();
    await until('the app is ready', () => said().includes('ready'));
    supervisor.stop('SIGTERM');
    assert.equal(await ended, 5);
    assert.deepEqual(said(), ['ready', 'bye']);
    assert.equal(logged.length, 1, 'an end that was asked for is no news');
  }));

test('a command that a signal has ended has the status that a shell gives it', () =>
  withApps(async ({ supervise, said, logged }) => {
    const supervisor = supervise(shell('kill -9 $$'));
    assert.equal(await supervisor.run(), 128 + 9);
    assert.match(logged.at(-1) ?? '', /was ended by SIGKILL/);

    const stopped = supervise(['sleep', '1000'], shell(say('never')));
    const ended = stopped.run();
    stopped.stop('SIGTERM');
    assert.equal(await ended, 128 + 15);
    assert.deepEqual(said(), [], 'no other command is started');
  }));

test('stopped before it began, it begins nothing', () =>
  withApps(async ({ supervise, said }) => {
    const supervisor = supervise(shell(say('never')));
    supervisor.stop('SIGTERM');
    assert.equal(await supervisor.run(), 0);
    assert.deepEqual(said(), []);
  }));

test('a program that is not there is named', () =>
  withApps(async ({ supervise }) => {
    await assert.rejects(supervise(['/nonexistent/app']).run(), {
      code: 'CONFIG',
      message: /cannot run \/nonexistent\/app: .*ENOENT/,
    });
  }));
