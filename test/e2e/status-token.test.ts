/** A node whose status is for who shows its token: programs, the commands of all users, and the page in a real browser. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { sqlite3 } from '../harness/app.ts';
import { TestBrowser } from '../harness/browser.ts';
import { program, runCli } from '../harness/cli.ts';
import {
  type Cluster,
  freePorts,
  inSync,
  startCluster,
  type TestNode,
  WAIT_MS_MAX,
} from '../harness/cluster.ts';

const SECRET = 'hush, this is of all the nodes';
const TOKEN = 'for-the-eyes-of-the-monitoring';
const NOBODY = ['--reuid=65534', '--regid=65534', '--clear-groups', '--no-new-privs', '--'];
const EXIT_REJECTED = 77;
const STATUS = ['/info', '/databases', '/history', '/snapshots', '/events', '/metrics'];
const GUARDED = [
  ['GET', '/export?name=app.db'],
  ['GET', '/verify?name=app.db'],
  ['POST', '/import?name=app.db'],
  ['POST', '/restore?name=app.db'],
  ['POST', '/halt?name=app.db&id=7'],
  ['DELETE', '/halt?name=app.db&id=7'],
  ['POST', '/snapshot'],
  ['POST', '/increment?name=app.db'],
] as const;

describe('a node with a token for its status', () => {
  let cluster: Cluster;
  let primary: TestNode;
  let replica: TestNode;
  const urlOf = (node: TestNode) => `http://127.0.0.1:${node.httpPort}`;

  before(async () => {
    ({ cluster, primary, replica } = await startCluster('auto', {
      config: { http: { 'status-token': TOKEN }, replication: { secret: SECRET } },
    }));
    sqlite3(primary.file('app.db'), 'CREATE TABLE t(x); INSERT INTO t VALUES(1)');
    await inSync(primary, replica, 'app.db');
  });
  after(() => cluster?.close());

  const statusOf = async (method: string, path: string, token?: string) => {
    const over = new AbortController();
    const headers: Record<string, string> =
      token === undefined ? {} : { authorization: `Bearer ${token}` };
    const response = await fetch(urlOf(primary) + path, { method, headers, signal: over.signal });
    // A stream has no end.
    over.abort();
    return response.status;
  };

  it('shows it to who has the token or the secret, and nothing else for the token', async () => {
    for (const path of STATUS) {
      assert.equal(await statusOf('GET', path), 401, path);
      assert.equal(await statusOf('GET', `${path}?token=${TOKEN}&access_token=${TOKEN}`), 401);
      assert.equal(await statusOf('GET', path, TOKEN.slice(1)), 401, path);
      assert.equal(await statusOf('GET', path, TOKEN), 200, path);
      assert.equal(await statusOf('GET', path, SECRET), 200, path);
    }
    for (const [method, path] of GUARDED) {
      assert.equal(await statusOf(method, path, TOKEN), 401, path);
    }
    assert.equal(await statusOf('GET', '/verify?name=app.db', SECRET), 200);
    assert.equal(await statusOf('GET', '/healthz'), 200);
    assert.equal(sqlite3(replica.file('app.db'), 'SELECT x FROM t'), '1');
  });

  it('has commands that need none as root, and say to others what to set', async () => {
    const config = ['--config', primary.configFile];
    for (const where of [config, [...config, '--url', urlOf(primary)]]) {
      const run = await runCli(['status', ...where]);
      assert.match(run.stdout, /^app\.db /m, run.stderr);
    }
    const asNobody = (env: Record<string, string> = {}) =>
      runCli([...NOBODY, program(), 'status', '--url', urlOf(primary)], {
        bin: 'setpriv',
        cwd: '/',
        env: { HOME: '/root', ...env },
      });
    const refused = await asNobody();
    assert.equal(refused.status, EXIT_REJECTED);
    assert.match(
      refused.stderr,
      /needs the token for the status of the node\n .*LITEFS_STATUS_TOKEN/,
    );
    for (const [name, token] of [
      ['LITEFS_STATUS_TOKEN', TOKEN],
      ['LITEFS_SECRET', SECRET],
    ]) {
      const run = await asNobody({ [name]: token });
      assert.match(run.stdout, /^app\.db /m, run.stderr);
    }
    const check = await runCli(['config', 'check', '--json', ...config]);
    assert(!check.stdout.includes(TOKEN) && !check.stdout.includes(SECRET), check.stdout);
    // It asks the primary for its version.
    const doctor = await runCli(['doctor', '--config', replica.configFile]);
    assert.match(doctor.stdout, /^ok {4}secret +accepted by both sides$/m);
  });

  it('has a page that asks for the token once, and keeps it for its tab alone', async () => {
    const browser = await TestBrowser.start();
    try {
      const { page } = await browser.open(`${urlOf(primary)}/`);
      const sent: string[] = [];
      page.on('request', (request) => sent.push(request.url()));
      await page.locator('#closed').waitFor({ state: 'visible', timeout: WAIT_MS_MAX });
      assert.equal(await page.locator('#main').isVisible(), false);
      assert.equal(await page.locator('#live-text').textContent(), 'needs a token');

      await page.fill('#token', 'wrong');
      await page.click('#closed button');
      await page.getByText('That is not the token of this node.').waitFor({ timeout: WAIT_MS_MAX });

      const shown = async () => {
        await page
          .locator('#databases tbody', { hasText: 'app.db' })
          .waitFor({ state: 'visible', timeout: WAIT_MS_MAX });
        await page.locator('#live-text', { hasText: /^live$/ }).waitFor({ timeout: WAIT_MS_MAX });
        assert.equal(await page.locator('#closed').isVisible(), false);
        // They would show no token.
        assert.equal(await page.getByRole('link', { name: 'metrics' }).isVisible(), false);
      };
      await page.fill('#token', TOKEN);
      await page.press('#token', 'Enter');
      await shown();
      assert.equal(await page.inputValue('#token'), '');
      await page.reload();
      await shown();
      // What is committed comes by /events.
      sqlite3(primary.file('more.db'), 'CREATE TABLE t(x)');
      await page
        .locator('#databases tbody', { hasText: 'more.db' })
        .waitFor({ timeout: WAIT_MS_MAX });

      assert(sent.length > 0 && !sent.some((url) => url.includes(TOKEN)), 'in no address');
      assert.equal(page.url(), `${urlOf(primary)}/`);
      const kept = await page.evaluate('[document.cookie, localStorage.length]');
      assert.deepEqual(kept, ['', 0]);
      const other = await browser.open(`${urlOf(primary)}/`);
      await other.page.locator('#closed').waitFor({ state: 'visible', timeout: WAIT_MS_MAX });
    } finally {
      await browser.close();
    }
  });

  it('tells whoever reaches a port for health checks that it is not well, and not why', async () => {
    const [proxyPort] = await freePorts(1);
    const alone = await cluster.add('alone', {
      candidate: false,
      passthrough: 'auto',
      primaryPort: 1,
      config: {
        http: { 'status-token': TOKEN },
        proxy: { addr: `127.0.0.1:${proxyPort}`, target: '127.0.0.1:1', db: 'app.db' },
      },
    });
    alone.launch();
    await alone.logged(/^mounted on/);
    const reasons = async (url: string, token?: string) => {
      const headers: Record<string, string> = token ? { authorization: `Bearer ${token}` } : {};
      const response = await fetch(url, { headers });
      assert.equal(response.status, 503);
      return ((await response.json()) as { reasons: string[] }).reasons;
    };
    const health = `${urlOf(alone)}/healthz`;
    assert.deepEqual(await reasons(health), []);
    assert.match((await reasons(health, TOKEN)).join(), /127\.0\.0\.1:1/);
    assert.deepEqual(await reasons(`http://127.0.0.1:${proxyPort}/litefs/health`), [
      'the node is not well: litefs-lite status says why',
    ]);
  });
});
