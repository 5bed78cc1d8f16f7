/** Upkeep on a disk that is full or fails: said once, tried again, and no end of the process. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import type { EngineContext } from '../../../src/engine/core/context.ts';
import type { Registry } from '../../../src/engine/core/registry.ts';
import { Maintenance } from '../../../src/engine/maintenance.ts';
import type { EngineOptions } from '../../../src/engine/protocol.ts';
import { Scheduler } from '../../../src/engine/tasks/scheduler.ts';
import { loadPageSums } from '../../../src/store/page-sums-file.ts';
import { withFolder } from '../os/folder.ts';
import { NodeStand } from './node-stand.ts';

/** More than any of the intervals of upkeep. */
const LONG_MS = 60_000;

interface Stand {
  readonly nodes: NodeStand[];
  readonly warnings: string[];
  /** All upkeep is due, and is done. */
  readonly due: () => void;
}

/** Two databases that have been captured, and the upkeep of both. */
function withUpkeep(t: TestContext, body: (stand: Stand) => void): Promise<void> {
  return withFolder((folder) => {
    const nodes = ['a', 'b'].map((name) => new NodeStand(path.join(folder, name), `${name}.db`));
    let nowMs = 0;
    const warnings: string[] = [];
    const ctx = {
      ...nodes[0].ctx,
      clockMs: () => nowMs,
      log: (_: string, message: string) => warnings.push(message),
    } as EngineContext;
    const options = { retentionMs: LONG_MS, retentionCheckMs: LONG_MS, logBytesMax: 0 };
    const scheduler = new Scheduler(ctx.clockMs);
    const maintenance = new Maintenance(
      ctx,
      nodes.map(({ db }) => db) as unknown as Registry,
      scheduler,
      options as EngineOptions,
    );
    const due = () => {
      nowMs += LONG_MS;
      maintenance.poll();
      while (!scheduler.isIdle) scheduler.step();
    };
    try {
      for (const node of nodes) {
        node.sql('CREATE TABLE t(x);');
        node.capture(true);
      }
      body({ nodes, warnings, due });
    } finally {
      t.mock.restoreAll();
      for (const node of nodes) node.close();
    }
  });
}

function refuse(t: TestContext, method: 'fdatasyncSync' | 'writeSync', code: string): void {
  t.mock.method(fs, method, () => {
    throw Object.assign(new Error(`${code}: refused`), { code, errno: -1 });
  });
}

test('page checksums that cannot be saved are saved later, and those of others meanwhile', (t) =>
  withUpkeep(t, ({ nodes, warnings, due }) => {
    const [first, second] = nodes;
    fs.mkdirSync(first.db.sumsFile);
    due();
    due();
    assert.equal(warnings.length, 1);
    assert.match(warnings[0], /a\.db: saving the page checksums failed: EISDIR/);
    assert.deepEqual(loadPageSums(second.db.sumsFile)?.position, second.db.position);

    fs.rmdirSync(first.db.sumsFile);
    refuse(t, 'writeSync', 'ENOSPC');
    due();
    assert.notEqual(first.db.sums.dirtyBlocks, 0);
    t.mock.restoreAll();
    due();
    assert.deepEqual(loadPageSums(first.db.sumsFile)?.position, first.db.position);
    assert.equal(first.db.sums.dirtyBlocks, 0);
    assert.equal(warnings.length, 1, 'it is said once');

    first.sql('INSERT INTO t VALUES(1);');
    first.capture(true);
    refuse(t, 'writeSync', 'ENOSPC');
    due();
    assert.equal(warnings.length, 2, 'and once more when it had been well');
  }));

test('a log that cannot be flushed ends nothing', (t) =>
  withUpkeep(t, ({ nodes, warnings, due }) => {
    refuse(t, 'fdatasyncSync', 'EIO');
    due();
    due();
    assert.deepEqual(
      warnings.filter((text) => /flushing the log failed: EIO/.test(text)).length,
      2,
      'once for each database',
    );
    t.mock.restoreAll();
    for (const node of nodes) {
      node.sql('INSERT INTO t VALUES(1);');
      assert.equal(node.capture(true), 'done');
      assert.equal(node.db.position.txid, 2);
    }
  }));

test('a bug in upkeep is no fault of the disk', (t) =>
  withUpkeep(t, ({ due }) => {
    t.mock.method(fs, 'fdatasyncSync', () => {
      throw new TypeError('x is not a function');
    });
    assert.throws(due, TypeError);
  }));

/** Enough entries in each log for a merge. */
function grow({ nodes }: Stand): void {
  for (const node of nodes) {
    for (let i = 0; i < 64; i++) {
      node.sql(`INSERT INTO t VALUES(${i});`);
      node.capture(true);
    }
  }
}

test('a log that cannot be merged keeps no other from it, and a bug there is none of the disk', (t) =>
  withUpkeep(t, (stand) => {
    const { nodes, warnings, due } = stand;
    grow(stand);
    const [first, second] = nodes.map(({ db }) => db.log);
    const replace = t.mock.method(first, 'replace', () => {
      throw Object.assign(new Error('ENOSPC: refused'), { code: 'ENOSPC', errno: -28 });
    });
    due();
    due();
    assert.equal(second.entryCount, 1);
    assert.deepEqual(warnings, [
      'a.db: merging the log failed: ENOSPC: refused; it is tried again',
    ]);
    replace.mock.mockImplementation(() => {
      throw new TypeError('x is not a function');
    });
    assert.throws(due, TypeError);
    t.mock.restoreAll();
    due();
    assert.equal(first.entryCount, 1);
  }));
