/** The app beside the daemon, with real processes: order, exit status, signals, environment. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import type { App } from '../../../src/daemon/apps.ts';
import { Supervisor } from '../../../src/daemon/supervise.ts';
import { until } from '../../harness/cluster.ts';
import { withFolder } from '../os/folder.ts';

interface Stand {
  /** For these commands, one after the other. */
  supervise(...commands: string[][]): Supervisor;
  /** For one that is more than a command. */
  superviseApp(app: Partial<App> & Pick<App, 'argv'>): Supervisor;
  /** What the scripts wrote to `$LITEFS_DIR/said`, line by line. */
  said(): string[];
  readonly logged: string[];
  /** Lets other users write there. */
  openToAll(): void;
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
    const superviseAll = (apps: App[]) => {
      const supervisor = new Supervisor(apps, environment, log);
      started.push(supervisor);
      return supervisor;
    };
    const plain = { login: undefined, env: {}, isClean: false };
    const supervise = (...commands: string[][]) =>
      superviseAll(commands.map((argv) => ({ argv, ...plain })));
    const superviseApp = (app: Partial<App> & Pick<App, 'argv'>) =>
      superviseAll([{ ...plain, ...app }]);
    const said = () => {
      const file = path.join(folder, 'said');
      return fs.existsSync(file) ? fs.readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];
    };
    try {
      const openToAll = () => fs.chmodSync(folder, 0o777);
      await body({ supervise, superviseApp, said, logged, openToAll });
    } finally {
      for (const supervisor of started) supervisor.stop('SIGKILL');
    }
  });
}

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

/** Of no file of this machine. */
const LOGIN = {
  uid: 4321,
  gid: 4322,
  groups: [4322, 4323, 4324],
  name: 'app',
  home: '/srv/app',
  shell: '/usr/sbin/nologin',
};
const STATUS = 'grep -E "^(Uid|Gid|Groups|Cap(Inh|Prm|Eff|Amb)):" /proc/self/status';

test('an app with a user is that user alone: no id, group or capability of root is left to it', () =>
  withApps(async ({ superviseApp, said, openToAll }) => {
    openToAll();
    const groups = process.getgroups?.() ?? [];
    // As of an administrator who starts a node by hand.
    process.setgroups?.([0, 4, 4323]);
    try {
      const script = `${STATUS} > "$LITEFS_DIR/said"`;
      assert.equal(await superviseApp({ argv: shell(script), login: LOGIN }).run(), 0);
    } finally {
      process.setgroups?.(groups);
    }
    assert.deepEqual(
      said().map((line) => line.trim().split(/\s+/)),
      [
        ['Uid:', ...Array(4).fill('4321')],
        ['Gid:', ...Array(4).fill('4322')],
        ['Groups:', '4322', '4323', '4324'],
        ...['CapInh:', 'CapPrm:', 'CapEff:', 'CapAmb:'].map((name) => [name, '0'.repeat(16)]),
      ],
    );
  }));

test('an app with a user is sent signals, and its status is its own', () =>
  withApps(async ({ superviseApp, said, openToAll }) => {
    openToAll();
    const argv = shell(`trap '${say('bye')}; exit 5' TERM; ${stay}`);
    const supervisor = superviseApp({ argv, login: LOGIN });
    const ended = supervisor.run();
    await until('the app is ready', () => said().includes('ready'));
    supervisor.stop('SIGTERM');
    assert.equal(await ended, 5);
    assert.deepEqual(said(), ['ready', 'bye']);
  }));

test('a program that is not there is named also where a user would run it', () =>
  withApps(async ({ superviseApp }) => {
    for (const argv of [['/nonexistent/app'], ['no-such-program-at-all']]) {
      await assert.rejects(superviseApp({ argv, login: LOGIN }).run(), {
        code: 'CONFIG',
        message: `cannot run ${argv[0]}: there is no such program`,
      });
    }
  }));
