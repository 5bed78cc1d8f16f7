/** The status page of real nodes in a real browser: it agrees with /info, follows what happens, and trusts nobody's names. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import Sqlite from 'better-sqlite3';
import type { Page } from 'playwright-core';
import { sqlite3 } from '../harness/app.ts';
import { type OpenPage, TestBrowser } from '../harness/browser.ts';
import {
  type Cluster,
  inSync,
  startCluster,
  type TestNode,
  until,
  WAIT_MS_MAX,
} from '../harness/cluster.ts';

const HOSTILE = `<img src=x onerror="document.title='broken in'">&amp;'"\`\${1}.db`;

describe('the status page', () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-test-archives-'));
  let cluster: Cluster;
  let primary: TestNode;
  let replica: TestNode;
  let browser: TestBrowser;
  /** What the pages complained of. */
  const complaints: string[] = [];
  let opened: OpenPage[] = [];
  const urlOf = (node: TestNode) => `http://127.0.0.1:${node.httpPort}/`;

  before(async () => {
    ({ cluster, primary, replica } = await startCluster('auto', {
      config: { snapshots: { dir, on: 'primary', increments: '1s', schedule: '0 3 1 1 *' } },
    }));
    browser = await TestBrowser.start();
    sqlite3(
      primary.file('app.db'),
      'PRAGMA journal_mode=wal; CREATE TABLE t(x); INSERT INTO t VALUES(1)',
    );
    await inSync(primary, replica, 'app.db');
  });
  after(async () => {
    await browser?.close();
    await cluster?.close();
    fs.rmSync(dir, { recursive: true });
  });

  // A browser has six connections to one node, and each page holds one.
  afterEach(async () => {
    for (const entry of opened) {
      complaints.push(...entry.complaints);
      await entry.page.close();
    }
    opened = [];
  });

  async function open(node: TestNode): Promise<Page> {
    const entry = await browser.open(urlOf(node));
    opened.push(entry);
    await shows(entry.page, '#databases tbody', /app\.db/);
    return entry.page;
  }

  it('shows on each node what /info of that node says', async () => {
    for (const node of [primary, replica]) {
      const page = await open(node);
      const info = await node.info();
      assert.equal(await page.textContent('h1'), `${info.hostname}, ${info.role}`);
      await shows(page, '#verdict-title', /^All is well/);
      await until('the page has the positions of /info', async () => {
        const { databases, replicas, upstream } = await node.info();
        const others = [...replicas, ...(upstream ? [upstream] : [])];
        const wanted = [databases[0], ...others.map(({ positions }) => positions)].map((from) =>
          'name' in from ? from.position : (from as Record<string, string>)['app.db'],
        );
        return same(await positionsOf(page, 'app.db'), wanted);
      });
      const nodes = await page.locator('#nodes tbody tr').allTextContents();
      assert.equal(nodes.length, 2);
      assert.match(nodes[0], new RegExp(info.path));
      const { address } = info.upstream ?? info.replicas[0];
      assert(nodes[1].includes(address), nodes[1]);
    }
  });

  it('shows a commit within moments', async () => {
    const page = await open(primary);
    await shows(page, '#live-text', /^live$/);
    sqlite3(primary.file('app.db'), 'INSERT INTO t VALUES(2)');
    const position = await primary.position('app.db');
    const all = Array(2).fill(position);
    await until(
      'both nodes have it',
      async () => same(await positionsOf(page, 'app.db'), all),
      5000,
    );
    await shows(page, '#rate-legend', /at most [1-90-9.]+ per second/);
  });

  it('keeps up with a node that commits very often', async () => {
    const page = await open(replica);
    await shows(page, '#live-text', /^live$/);
    const db = new Sqlite(primary.file('app.db'));
    try {
      db.pragma('synchronous = OFF');
      const insert = db.prepare('INSERT INTO t VALUES(0)');
      for (let i = 0; i < 3000; i++) insert.run();
    } finally {
      db.close();
    }
    await inSync(primary, replica, 'app.db');
    const all = Array(2).fill(await primary.position('app.db'));
    await until('the page is there too', async () => same(await positionsOf(page, 'app.db'), all));
    await shows(page, '#live-text', /^live$/);
  });

  it('has what can be restored on the node that cuts snapshots, and nothing of it on others', async () => {
    const ours = await open(primary);
    await shows(ours, '#snapshots-about', /verified.*integrity_check/);
    const theirs = await open(replica);
    await until('the replica has told of its snapshots', async () =>
      (await theirs.request.get(`${urlOf(replica)}snapshots`)).ok(),
    );
    assert(await theirs.locator('#snapshots').isHidden());
    await until('the archive is there', async () => {
      await ours.reload();
      await shows(ours, '#snapshots-about', /verified/);
      return /^app\.db .*restore point.*ago; 1 snapshot/.test(
        (await ours.textContent('#snapshots-list')) ?? '',
      );
    });
    const line = ours.locator('#snapshots-list summary').first();
    await line.click();
    assert(await ours.locator('#snapshots-list table').first().isVisible());
    assert.match((await ours.textContent('#snapshots-list table >> nth=1')) ?? '', /full, .* ago/);
  });

  it('takes the name of a database for text, whatever is in it', async () => {
    const page = await open(primary);
    sqlite3(primary.file(HOSTILE), 'CREATE TABLE t(x)');
    await until('the database is shown', async () =>
      (await page.locator('#databases tbody th').allTextContents()).includes(HOSTILE),
    );
    assert.equal(await page.locator('#databases img').count(), 0);
    assert.match(await page.title(), /^.+, primary – litefs-lite$/);
  });

  it('lets the browser load nothing but its own files, and run no script in the page', async () => {
    const response = await fetch(urlOf(primary));
    assert.equal(response.headers.get('content-type'), 'text/html; charset=utf-8');
    assert.equal(response.headers.get('x-content-type-options'), 'nosniff');
    const policy = response.headers.get('content-security-policy') ?? '';
    assert.match(policy, /default-src 'none'; script-src 'self'; style-src 'self'/);
    assert.doesNotMatch(policy, /unsafe/);
    const etag = response.headers.get('etag') ?? '';
    const again = await fetch(urlOf(primary), { headers: { 'if-none-match': etag } });
    assert.equal(again.status, 304);
    const { page } = await browser.open(urlOf(primary));
    await assert.rejects(page.evaluate('document.body.innerHTML = "<p>"'), /TrustedHTML/);
    const frame = page.addScriptTag({ content: 'globalThis.ran = true' });
    await assert.rejects(frame, /Trusted|Content Security Policy/i);
    assert.equal(await page.evaluate('globalThis.ran'), undefined);
    await page.close();
  });

  it('fits a phone, in light and dark', async () => {
    const page = await open(primary);
    const grounds = new Set<unknown>();
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      for (const width of [390, 800, 1280]) {
        await page.setViewportSize({ width, height: 800 });
        const wide = await page.evaluate(
          'document.documentElement.scrollWidth - document.documentElement.clientWidth',
        );
        const ground = await page.evaluate('getComputedStyle(document.body).backgroundColor');
        assert.equal(wide, 0, `${width} px wide, ${colorScheme}`);
        grounds.add(ground);
      }
    }
    assert.equal(grounds.size, 2);
  });

  it('says in plain words that a replica is away, and that it is back', async () => {
    const page = await open(primary);
    const { hostname } = await primary.info();
    await replica.stop();
    await shows(
      page,
      '#troubles',
      new RegExp(`^${hostname} .*is not connected since .*all that was`),
    );
    sqlite3(primary.file('app.db'), 'INSERT INTO t VALUES(3)');
    await shows(
      page,
      '#troubles',
      new RegExp(
        `^${hostname} .*is (less than )?\\d+ s behind: not connected since \\d\\d:\\d\\d\\. It lacks 1 transaction\\.$`,
      ),
    );
    await shows(page, '#databases tbody', /1 behind/);
    await replica.start();
    await shows(page, '#verdict-title', /^All is well/);
  });

  it('says on a replica that the primary is away', async () => {
    const page = await open(replica);
    await primary.stop();
    await shows(page, '#troubles', /behind: not connected to .* since \d\d:\d\d: .*$/);
    assert.equal(await page.locator('#troubles li').count(), 1);
    await primary.start();
    await shows(page, '#verdict-title', /^All is well/);
  });

  it('says that the node itself does not answer, and goes on when it does', async () => {
    const page = await open(replica);
    await shows(page, '#live-text', /^live$/);
    await replica.stop();
    await shows(page, '#silent', /does not answer since \d\d:\d\d\. .*tries again/);
    await shows(page, '#live-text', /not connected/);
    await replica.start();
    await shows(page, '#live-text', /^live$/);
    await until('the banner is gone', () => page.locator('#silent').isHidden());
  });

  it('had nothing to complain of', () => {
    // While the tests stop nodes, what is asked of them fails.
    const serious = complaints.filter(
      (text) => !/^Failed to load resource|ERR_CONNECTION/.test(text),
    );
    assert.deepEqual(serious, []);
  });
});

/** Waits until the text of an element matches. */
async function shows(page: Page, selector: string, pattern: RegExp): Promise<void> {
  let text = '';
  await until(
    () => `${path.basename(page.url())} ${selector}: ${JSON.stringify(text)} is not ${pattern}`,
    async () => {
      text = (await page.textContent(selector)) ?? '';
      if (selector === '#verdict-title') text += (await page.textContent('#troubles')) ?? '';
      return pattern.test(text);
    },
    WAIT_MS_MAX,
  );
}

/** Of one database, on each node. */
async function positionsOf(page: Page, database: string): Promise<(string | null)[]> {
  const row = page.locator('#databases tbody tr').filter({ hasText: database }).first();
  const cells = await row.locator('[data-position]').all();
  return Promise.all(cells.map((cell) => cell.getAttribute('data-position')));
}

function same(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}
