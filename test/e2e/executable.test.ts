/** The executable, built and run where nothing of the checkout is near. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { PAGE_FILES } from '../../src/http/page/files.ts';
import { VERSION } from '../../src/version.ts';
import { sqlite3 } from '../harness/app.ts';
import { runCli } from '../harness/cli.ts';
import { freePorts, inSync, TestNode } from '../harness/cluster.ts';
import { clearMountPoint } from '../harness/mount-points.ts';

const BUILD = path.resolve(import.meta.dirname, '../../scripts/build.ts');

describe('the executable', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-test-'));
  const bin = path.join(folder, 'bin/litefs-lite');
  const lib = path.join(folder, 'lib/litefs-lite');
  const nodes: TestNode[] = [];

  before(() => {
    execFileSync(process.execPath, [BUILD, '--output', bin, '--addons', lib]);
  });
  after(async () => {
    for (const node of nodes) {
      await node.kill();
      clearMountPoint(node.mount);
    }
    fs.rmSync(folder, { recursive: true, force: true });
  });

  test('knows its version and its config, without any file of its own', async () => {
    const alone = path.join(folder, 'alone');
    fs.copyFileSync(bin, alone);
    const { stdout } = await runCli(['version'], { bin: alone });
    assert.match(stdout, new RegExp(`^litefs-lite ${VERSION}, node `));
    const { status, stdout: schema } = await runCli(['config', 'schema'], { bin: alone });
    assert.equal(status, 0);
    assert.equal(JSON.parse(schema).title, 'litefs-lite');
    fs.rmSync(alone);
  });

  test('mounts and replicates, with the addons that were installed beside it', async () => {
    const [primary, replica] = await startPair();
    sqlite3(primary.file('a.db'), 'PRAGMA journal_mode=wal; CREATE TABLE t(x)');
    await inSync(primary, replica, 'a.db');
    assert.equal(sqlite3(replica.file('a.db'), 'SELECT count(*) FROM t').trim(), '0');
    const maps = fs.readFileSync(`/proc/${primary.pid}/maps`, 'utf8');
    for (const addon of ['koffi', 'better-sqlite3']) {
      const mapped = maps.split('\n').filter((line) => line.endsWith(`${lib}/${addon}.node`));
      assert(mapped.length > 0, `${addon} is not mapped from ${lib}`);
      assert.equal(new Set(mapped.map((line) => line.split(/\s+/)[4])).size, 1);
    }
    // The status page is inside, as all of its files are.
    for (const [name, text] of Object.entries(PAGE_FILES)) {
      const at = name === 'status.html' ? '' : `page/${name}`;
      const response = await fetch(`http://127.0.0.1:${primary.httpPort}/${at}`);
      assert.equal(await response.text(), text, name);
    }
    await stopAll();
  });

  test('loads no addon that is not its own, or that others may write to', async () => {
    fs.writeFileSync(path.join(lib, 'koffi.node'), 'not what was built');
    fs.chmodSync(path.join(lib, 'better-sqlite3.node'), 0o666);
    const [primary] = await startPair();
    sqlite3(primary.file('a.db'), 'CREATE TABLE t(x)');
    assert(!fs.readFileSync(`/proc/${primary.pid}/maps`, 'utf8').includes(lib));
    await stopAll();
  });

  test('goes on when a package was installed over it, also with exports and imports', async () => {
    const [primary] = await startPair();
    sqlite3(primary.file('a.db'), "CREATE TABLE t(x); INSERT INTO t VALUES('kept')");
    const installed = `${bin}.dpkg-new`;
    fs.writeFileSync(installed, '#!/bin/sh\nexit 1\n', { mode: 0o755 });
    const before = fs.readFileSync(bin);
    fs.renameSync(installed, bin);
    try {
      const exported = await primary.api('/export?name=a.db');
      assert.equal(exported.status, 200);
      const body = await exported.arrayBuffer();
      const imported = await primary.api('/import?name=b.db', { method: 'POST', body });
      assert.equal(imported.status, 200, await imported.text());
      assert.equal(sqlite3(primary.file('b.db'), 'SELECT x FROM t').trim(), 'kept');
    } finally {
      fs.rmSync(bin);
      fs.writeFileSync(bin, before, { mode: 0o755 });
    }
    await stopAll();
  });

  async function stopAll(): Promise<void> {
    for (const node of nodes.splice(0).reverse()) {
      assert.equal(await node.stop(), 0);
      clearMountPoint(node.mount);
    }
  }

  /** A primary and a replica of it, both of the executable. */
  async function startPair(): Promise<[TestNode, TestNode]> {
    const ports = await freePorts(4);
    const dir = fs.mkdtempSync(path.join(folder, 'pair-'));
    const common = { passthrough: 'auto', executable: bin } as const;
    const primary = new TestNode('primary', path.join(dir, 'primary'), [ports[0], ports[1]], {
      ...common,
      candidate: true,
    });
    const replica = new TestNode('replica', path.join(dir, 'replica'), [ports[2], ports[3]], {
      ...common,
      candidate: false,
      primaryPort: ports[1],
    });
    nodes.push(primary, replica);
    await primary.start();
    await replica.start();
    return [primary, replica];
  }
});
