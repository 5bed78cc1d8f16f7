/** The first three commands of a new cluster: init on the primary, token, init on the replica. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { decodeToken } from '../../src/cli/join-token.ts';
import { SHIPPED_CONFIG } from '../../src/config/initial.ts';
import { runCli } from '../harness/cli.ts';
import { clearMountPoint } from '../harness/mount-points.ts';

const EXIT_USAGE = 64;
const EXIT_CONFIG = 78;

describe('init and token', () => {
  let dir: string;
  let primary: string;
  before(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-init-'));
    primary = path.join(dir, 'primary.yml');
  });
  after(() => {
    clearMountPoint(path.join(dir, 'm'));
    fs.rmSync(dir, { recursive: true, force: true });
  });
  /** No test makes the mount point that a node of this machine would have. */
  const init = (...args: string[]) => runCli(['init', '--dir', 'm', ...args], { cwd: dir });
  const token = async () => (await runCli(['token', '--config', primary])).stdout;

  test('a primary: a file for its owner alone, and what to type next', async () => {
    const made = await init('--config', primary, '--data', 'd');
    assert.equal(made.status, 0, made.stderr);
    assert.equal(fs.statSync(primary).mode & 0o777, 0o600);
    assert.ok(made.stdout.startsWith(`${primary}: this node is the primary\n`), made.stdout);
    assert.match(made.stdout, /^ {2}litefs-lite token --config /m);
    assert.match(made.stdout, /^ {2}litefs-lite mount --config /m);
    const check = await runCli(['config', 'check', primary]);
    assert.equal(check.status, 0, check.stderr);
    assert.ok(check.stdout.includes(`in ${dir}/m and kept in ${dir}/d\n`), check.stdout);
    assert.match(check.stdout, /to :20204, with a secret\n/);
    assert.ok(!made.stdout.includes(decodeToken(await token()).secret), 'the secret is not shown');
    assert.deepEqual(fs.readdirSync(dir).sort(), ['m', 'primary.yml']);
    assert.match(made.stdout, /^ {2}\S+\/m is immutable: while the node does not run/m);
    assert.throws(() => fs.writeFileSync(path.join(dir, 'm', 'app.db'), ''), { code: 'EPERM' });
  });

  test('two primaries have two secrets, of 256 bits', async () => {
    const other = path.join(dir, 'other.yml');
    await init('--primary', '--config', other);
    const second = decodeToken((await runCli(['token', '-config', other])).stdout).secret;
    assert.notEqual(second, decodeToken(await token()).secret);
    assert.equal(Buffer.from(second, 'base64url').length, 32);
  });

  test('a replica: the token alone, and the two configs belong together', async () => {
    const file = path.join(dir, 'replica.yml');
    const made = await init('--token', (await token()).trim(), '--config', file);
    assert.equal(made.status, 0, made.stderr);
    const { host } = decodeToken(await token());
    assert.ok(made.stdout.includes(`a replica of ${host}\n`), made.stdout);
    const check = await runCli(['config', 'check', file]);
    assert.match(check.stdout, new RegExp(`a replica of ${host}:20204\n`));
    const secretLine = (text: string) =>
      /^ {2}secret: .*$/m.exec(fs.readFileSync(text, 'utf8'))?.[0];
    assert.equal(secretLine(file), secretLine(primary));
    assert.match(
      made.stdout,
      new RegExp(`^  at its next start this node joins ${host} and gets`, 'm'),
    );
    assert.match(made.stdout, /^Next \(what runs now goes on as it was until it is restarted\):$/m);
    const refused = await runCli(['token', '--config', file]);
    assert.match(refused.stderr, /makes this node a replica\n {2}Run it on the primary/);
  });

  test('a replica that has databases: what its primary will say to that, and how to join without them', async () => {
    const data = path.join(dir, 'data');
    fs.mkdirSync(path.join(data, 'tree'), { recursive: true });
    fs.writeFileSync(path.join(data, 'tree', 'app.db'), 'SQLite format 3\0');
    const args = ['--token', (await token()).trim(), '--config', path.join(dir, 'full.yml')];
    const made = await init(...args, '--data', data);
    assert.equal(made.status, 0, made.stderr);
    assert.ok(made.stdout.includes(`  ! ${data} has databases. `), made.stdout);
    assert.ok(made.stdout.includes(`mv ${data} ${data}.old\n`), made.stdout);
  });

  test('a mistyped token is refused, and nothing is written', async () => {
    const file = path.join(dir, 'none.yml');
    const text = (await token()).trim();
    const wrong = text.slice(0, 12) + (text[12] === 'A' ? 'B' : 'A') + text.slice(13);
    const { status, stderr } = await init('--token', wrong, '--config', file);
    assert.equal(status, EXIT_USAGE);
    assert.match(stderr, /the token is mistyped/);
    assert.match(stderr, /Copy the whole line/);
    const alone = await init('--replica-of', 'box1', '--config', file);
    assert.equal(alone.status, EXIT_USAGE);
    assert.match(alone.stderr, /Run "litefs-lite token" on box1/);
    assert.equal(fs.existsSync(file), false);
  });

  test('the file as the package installs it is replaced, an edited one only by --force, and kept', async () => {
    const file = path.join(dir, 'conffile.yml');
    fs.writeFileSync(file, SHIPPED_CONFIG);
    assert.equal((await init('--config', file)).status, 0);
    const edited = fs.readFileSync(file, 'utf8');
    const refused = await init('--config', file);
    assert.equal(refused.status, EXIT_CONFIG);
    assert.match(refused.stderr, /exists, and is not as the package installed it\n {2}Add --force/);
    assert.equal(fs.readFileSync(file, 'utf8'), edited);
    const forced = await init('--config', file, '--force');
    assert.equal(forced.status, 0, forced.stderr);
    assert.notEqual(fs.readFileSync(file, 'utf8'), edited);
    assert.equal(fs.readFileSync(`${file}.old`, 'utf8'), edited);
    assert.equal(fs.statSync(`${file}.old`).mode & 0o777, 0o600);
  });
});
