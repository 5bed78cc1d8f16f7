/** The app of a node as another user: what it is, what it sees, and that nothing is mounted when there is no such user. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { mountAt } from '../../src/os/mounts.ts';
import { said, shellText } from '../harness/app.ts';
import { program, runCli } from '../harness/cli.ts';
import { Cluster, type TestNode } from '../harness/cluster.ts';
import { NOBODY } from '../harness/other-user.ts';

const SECRET = 'hush, this is of all the nodes';
/** Of no account of the machine. */
const GROUP = 65533;

describe('the app of a node that has a user', () => {
  let cluster: Cluster;
  let secretFile: string;
  beforeEach(() => {
    cluster = new Cluster();
    fs.chmodSync(cluster.dir, 0o711);
    secretFile = path.join(cluster.dir, 'secret');
    fs.writeFileSync(secretFile, SECRET, { mode: 0o400 });
  });
  afterEach(() => cluster.close());

  /** A primary with a folder of nobody's in its mount. */
  async function nodeWith(exec: object): Promise<TestNode> {
    const node = await cluster.add('primary', {
      candidate: true,
      passthrough: 'auto',
      environment: {
        LITEFS_SECRET: SECRET,
        SAME: SECRET,
        CREDENTIALS_DIRECTORY: cluster.dir,
        FOR_APP: 'a',
        NOT_FOR_APP: 'n',
      },
      config: {
        exec: [exec],
        fuse: { 'allow-other': true },
        replication: { 'secret-file': secretFile },
      },
    });
    fs.mkdirSync(node.backing('app'), { recursive: true });
    fs.chownSync(node.backing('app'), NOBODY.uid, GROUP);
    return node;
  }

  test('is that user in that group, with a clean environment, and reaches nothing of root alone', async () => {
    const script = `
      say "$(id -u) $(id -g) $(id -G)"
      say $(env | cut -d= -f1 | sort)
      say "[$MODE]"
      cat "$SECRET_FILE" && say 'has the secret'
      curl -sS --unix-socket "$SOCKET" http://localhost/info && say 'has the socket'
      ls "$DATA" && say 'has data.dir'
      sqlite3 "$LITEFS_DIR/app/app.db" 'CREATE TABLE t(x)' && say 'has its database'
      sqlite3 "$LITEFS_DIR/app.db" 'CREATE TABLE t(x)' && say 'has another one'
      exit 3`;
    const env = { SECRET_FILE: secretFile, SOCKET: '', DATA: '', MODE: '$FOR_APP' };
    const entry = { cmd: shellText(script), user: NOBODY.uid, group: `${GROUP}`, env };
    const node = await nodeWith(entry);
    Object.assign(env, { SOCKET: node.socket, DATA: node.data });
    node.launch();
    assert.equal(await node.exited, 3, node.logText());
    const [who, variables, ...rest] = said(node);
    assert.equal(who, `${NOBODY.uid} ${GROUP} ${GROUP}`, 'and in no group of root');
    const own = ['DATA', 'LITEFS_DIR', 'LITEFS_IS_PRIMARY', 'LITEFS_PRIMARY', 'MODE'];
    const account = ['HOME', 'LOGNAME', 'SHELL', 'USER'];
    const allowed = [...own, ...account, 'PATH', 'SECRET_FILE', 'SOCKET'];
    const others = variables.split(' ').filter((name) => !allowed.includes(name));
    // The shell's own, and what says the language where the test runs.
    assert.deepEqual(
      others.filter((name) => !/^(_|PWD|OLDPWD|SHLVL|LANG|LANGUAGE|LC_.*|TZ)$/.test(name)),
      [],
    );
    for (const name of [...own, ...account]) assert(variables.split(' ').includes(name), name);
    assert.deepEqual(rest, ['[a]', 'has its database']);
    assert.equal(fs.statSync(node.backing('app/app.db')).uid, NOBODY.uid);

    const check = await runCli(['config', 'check', '--json', '--config', node.configFile], {
      env: { FOR_APP: 'hidden' },
    });
    assert.deepEqual(JSON.parse(check.stdout).config.exec[0].env.MODE, '…', check.stderr);
  });

  test('without one runs as the daemon, with all of its environment but what is its alone', async () => {
    const script = `
      say "$(id -u) [$NOT_FOR_APP] [$LITEFS_SECRET] [$SAME] [$CREDENTIALS_DIRECTORY] [$MODE]"`;
    const node = await nodeWith({ cmd: shellText(script), env: { MODE: 5 } });
    node.launch();
    assert.equal(await node.exited, 0, node.logText());
    assert.deepEqual(said(node), [`${process.getuid?.()} [n] [] [] [] [5]`]);
  });

  test('is refused before the mount by a daemon that may not become another user, or not stop it', async () => {
    const node = await nodeWith({ cmd: 'true', user: 'nobody' });
    node.launch();
    assert.equal(await node.exited, 0, node.logText());
    for (const name of ['setuid', 'setgid', 'kill']) {
      const words = ['--bounding-set', `-${name}`, '--inh-caps', '-all', '--', program()];
      const mount = ['mount', '--config', node.configFile];
      const { status, stderr } = await runCli([...words, ...mount], { bin: 'setpriv' });
      assert.equal(status, 78);
      const lack = `this process lacks CAP_${name.toUpperCase()}`;
      assert(stderr.includes(lack), stderr);
      assert.match(stderr, /CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_KILL/);
    }
  });

  test('that is not there ends the node before it mounts, and the doctor says the same', async () => {
    const node = await nodeWith({ cmd: 'true', user: 'no-such-user' });
    node.launch();
    assert.equal(await node.exited, 78);
    const why = 'exec, true: there is no user no-such-user on this machine (/etc/passwd)';
    assert(node.logText().includes(why), node.logText());
    assert(!/recover|mounted/.test(node.logText()), 'it was found out at once');
    assert.equal(mountAt(node.mount), undefined);
    const { stdout } = await runCli(['doctor', '--config', node.configFile]);
    assert(stdout.split('\n').some((line) => line.startsWith('fail') && line.endsWith(why)));
  });
});
