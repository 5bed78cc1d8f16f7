/**
 * The pictures of the status page in docs/: `scripts/node scripts/screenshots.ts [FOLDER]`.
 *
 * Three real nodes on this machine, each with a host name of its own (unshare), so root and Debian's Chromium are
 * needed. A minute of writing, then one picture; then a replica is stopped while writing goes on, and the other one.
 */
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import type { Page } from 'playwright-core';
import { TestBrowser } from '../test/harness/browser.ts';
import { Cluster, type TestNode, until } from '../test/harness/cluster.ts';

const ROOT = path.resolve(import.meta.dirname, '..');
const out = path.resolve(process.argv[2] ?? path.join(ROOT, 'docs'));
const WRITE_MS = Number(process.env.SCREENSHOT_WRITE_MS ?? 60_000);
const AWAY_MS = WRITE_MS / 3;
const PAUSE_MS = 40;
const DATABASES = ['app.db', 'metrics/2026.db', 'sessions.db'];

const cluster = new Cluster();
let browser: TestBrowser | undefined;
const writing = new AbortController();
let written: Promise<void> | undefined;
try {
  const [primary, , third] = await startNodes();
  browser = await TestBrowser.start({ deviceScaleFactor: 1 });
  const { page } = await browser.open(`http://127.0.0.1:${primary.httpPort}/`);
  written = write(primary, writing.signal);
  await setTimeout(WRITE_MS);
  await primary.api('/snapshot', { method: 'POST' });
  await page.reload();
  await shoot(page, 'status-healthy.png', 'light', /All is well/);
  await third.kill();
  await setTimeout(AWAY_MS);
  await shoot(page, 'status-broken.png', 'dark', /needs? attention/);
} finally {
  writing.abort();
  await written;
  await browser?.close();
  await cluster.close();
}

async function startNodes(): Promise<TestNode[]> {
  const nodes: TestNode[] = [];
  for (const host of ['box1', 'box2', 'attic']) {
    const candidate = nodes.length === 0;
    const node = await cluster.add(host, {
      candidate,
      passthrough: 'auto',
      primaryPort: nodes[0]?.replicationPort,
      executable: executableAs(host),
      config: candidate
        ? { snapshots: { dir: path.join(cluster.dir, 'nas'), increments: '10s' } }
        : {},
    });
    await node.start();
    nodes.push(node);
  }
  return nodes;
}

/** The program under another host name. */
function executableAs(host: string): string {
  const file = path.join(cluster.dir, `as-${host}`);
  const command = `hostname ${host} && exec ${process.execPath} ${path.join(ROOT, 'src/main.ts')} "$@"`;
  fs.writeFileSync(file, `#!/bin/sh\nexec unshare --uts sh -c '${command}' sh "$@"\n`, {
    mode: 0o755,
  });
  return file;
}

/** Commits now and then, at a pace that goes up and down. */
async function write(node: TestNode, over: AbortSignal): Promise<void> {
  fs.mkdirSync(path.dirname(node.file(DATABASES[1])), { recursive: true });
  const statements = DATABASES.map((name) => {
    const db = new Sqlite(node.file(name));
    db.pragma('journal_mode = wal');
    db.exec('CREATE TABLE IF NOT EXISTS t(x)');
    return { db, insert: db.prepare('INSERT INTO t VALUES(randomblob(2000))') };
  });
  for (let turn = 0; !over.aborted; turn++) {
    const busy = 1 + Math.sin(turn / 60) ** 2 * 4;
    for (let i = 0; i < busy; i++) statements[i % 2].insert.run();
    if (turn % 40 === 0) statements[2].insert.run();
    await setTimeout(PAUSE_MS);
  }
  for (const { db } of statements) db.close();
}

async function shoot(
  page: Page,
  name: string,
  scheme: 'light' | 'dark',
  verdict: RegExp,
): Promise<void> {
  await page.emulateMedia({ colorScheme: scheme });
  await page.setViewportSize({ width: 1000, height: 700 });
  await until(`the page says ${verdict}`, async () =>
    verdict.test((await page.textContent('#verdict-title')) ?? ''),
  );
  // Of a page that was just loaded the rates are known after two looks.
  await until('rates are shown', async () =>
    /[1-9]/.test((await page.textContent('#databases tbody td:nth-child(4)')) ?? ''),
  );
  await page.waitForSelector('#lag svg path');
  const file = path.join(out, name);
  await page.screenshot({ path: file, fullPage: true });
  process.stdout.write(`${file}: ${Math.round(fs.statSync(file).size / 1024)} KiB\n`);
}
