/** Who runs an application and what is in its environment: from the config, the accounts, and the daemon's own environment. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type App, appsOf, environmentOf } from '../../../src/daemon/apps.ts';
import { forgetOwn } from '../../../src/daemon/own-environment.ts';
import { parse } from '../config/parse.ts';

const FACTS = { LITEFS_DIR: '/litefs', LITEFS_PRIMARY: 'box1', LITEFS_IS_PRIMARY: 'true' };
const LOGIN = { uid: 7, gid: 8, groups: [8, 9], name: 'app', home: '/srv/app', shell: '/bin/bash' };
const INHERITED = {
  PATH: '/opt/bin:/bin',
  LANG: 'C.UTF-8',
  LC_ALL: 'C',
  TZ: 'Europe/Berlin',
  HOME: '/root',
  USER: 'root',
  LOGNAME: 'root',
  SHELL: '/bin/zsh',
  DATABASE_URL: 'x',
};
const app = (more: Partial<App>): App => ({
  argv: ['serve'],
  login: undefined,
  env: {},
  isClean: false,
  ...more,
});

describe('the environment of an app', () => {
  test("is the daemon's, as under LiteFS, and what it needs to know of the mount", () => {
    assert.deepEqual(environmentOf(app({}), INHERITED, FACTS), { ...INHERITED, ...FACTS });
  });

  test("is clean with a user: of the daemon's only where programs are, language and time zone", () => {
    assert.deepEqual(environmentOf(app({ login: LOGIN, isClean: true }), INHERITED, FACTS), {
      PATH: '/opt/bin:/bin',
      LANG: 'C.UTF-8',
      LC_ALL: 'C',
      TZ: 'Europe/Berlin',
      HOME: '/srv/app',
      USER: 'app',
      LOGNAME: 'app',
      SHELL: '/bin/bash',
      ...FACTS,
    });
  });

  test("is the daemon's with a user where that is said, but for who it is", () => {
    const { DATABASE_URL, HOME, USER } = environmentOf(app({ login: LOGIN }), INHERITED, FACTS);
    assert.deepEqual([DATABASE_URL, HOME, USER], ['x', '/srv/app', 'app']);
  });

  test('is clean without a user where that is said, and keeps the account', () => {
    const { DATABASE_URL, HOME, PATH } = environmentOf(app({ isClean: true }), INHERITED, FACTS);
    assert.deepEqual([DATABASE_URL, HOME, PATH], [undefined, '/root', '/opt/bin:/bin']);
  });

  test('has what the entry says before all else, and always a PATH, a home and a shell', () => {
    const env = { LANG: 'de', LITEFS_DIR: '/other', PORT: '80' };
    const login = { ...LOGIN, name: undefined, home: '', shell: '/usr/sbin/nologin' };
    assert.deepEqual(environmentOf(app({ login, env, isClean: true }), {}, FACTS), {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      HOME: '/',
      USER: '7',
      LOGNAME: '7',
      SHELL: '/bin/sh',
      ...FACTS,
      ...env,
    });
  });
});

test("what is the daemon's alone is taken out of its environment, whatever the secret is called there", () => {
  const environment: NodeJS.ProcessEnv = {
    LITEFS_SECRET: 'another',
    OURS: 'what the nodes share',
    CREDENTIALS_DIRECTORY: '/run/credentials/x.service',
    NOTIFY_SOCKET: '/run/x',
    WATCHDOG_USEC: '1',
    WATCHDOG_PID: '1',
    LISTEN_FDS: '1',
    LISTEN_PID: '1',
    LISTEN_FDNAMES: 'x',
    EMPTY: '',
    PATH: '/bin',
  };
  forgetOwn(environment, ['what the nodes share', undefined]);
  assert.deepEqual(environment, { EMPTY: '', PATH: '/bin' });
});

describe('the apps of a node', () => {
  const apps = (exec: string, role = '') =>
    appsOf(parse(`exec: ${exec}\n${role}`).config, undefined);
  const REPLICA = 'lease: {candidate: false, advertise-url: "http://box1:20202"}';

  test('run as the daemon unless a user is said, whose environment is clean unless that is', () => {
    const [plain] = apps('serve');
    assert.deepEqual(plain, app({}));
    const [root] = apps('[{cmd: serve, user: root, env: {PORT: 80, MODE: "on"}}]');
    assert.equal(root.isClean, true);
    assert.deepEqual(root.env, { PORT: '80', MODE: 'on' });
    assert.deepEqual([root.login?.uid, root.login?.gid, root.login?.home], [0, 0, '/root']);
    const [kept] = apps('[{cmd: serve, user: "0", clean-env: false}]');
    assert.deepEqual([kept.isClean, kept.login?.name], [false, 'root']);
    const [clean] = apps('[{cmd: serve, clean-env: true}]');
    assert.deepEqual([clean.isClean, clean.login], [true, undefined]);
  });

  test('are refused for a user or group that is not there, but not those of another role', () => {
    for (const [who, message] of [
      ['user: no-such-user', /^exec, serve: there is no user no-such-user on this machine/],
      ['user: root, group: no-such-group', /there is no group no-such-group/],
      ['user: 4294967295', /there is no user 4294967295/],
      ['user: 3999999999', /user 3999999999 is not in \/etc\/passwd, .*write group: beside user:/],
    ] as const) {
      const exec = `[{cmd: serve, if-candidate: true, ${who}}]`;
      assert.throws(() => apps(exec), { code: 'CONFIG', message });
      assert.deepEqual(apps(exec, REPLICA), []);
    }
  });

  test('on the command line are run as they are', () => {
    const { config } = parse('exec: [{cmd: serve, user: no-such-user}]');
    assert.deepEqual(appsOf(config, ['other']), [app({ argv: ['other'] })]);
  });
});
