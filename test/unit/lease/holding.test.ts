/** What a data directory holds, in each form in which something of a database may lie there. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { holdingOf } from '../../../src/lease/holding.ts';
import { createLayout, type Layout, layoutOf } from '../../../src/store/layout.ts';
import { TransactionLog } from '../../../src/store/log.ts';
import { TreeDoor } from '../../../src/store/tree-door.ts';
import { withFolder } from '../os/folder.ts';
import { LtxChain, type TransactionFields } from '../store/ltx-chain.ts';

const DATABASE = 'SQLite format 3\0';
const DROP = { commit: 0 };

const withLayout = (body: (layout: Layout) => void) =>
  withFolder((folder) => {
    const layout = layoutOf(path.join(folder, 'data'));
    createLayout(layout);
    body(layout);
  });

/** A log of these transactions, each in a file of its own if so. */
function writeLog(dir: string, transactions: TransactionFields[], { apart = false } = {}): void {
  const log = TransactionLog.open(dir, assert.fail);
  const chain = new LtxChain();
  for (const fields of transactions) {
    const { bytes, header, post } = chain.next(fields);
    log.append(bytes, header, post, 0);
    if (apart) log.seal();
  }
  log.close();
}

test('nothing: a folder that is not there, a new one, files that are no databases', () =>
  withLayout((layout) => {
    assert.equal(holdingOf(layoutOf(`${layout.root}-not`)), 'nothing');
    assert.equal(holdingOf(layout), 'nothing');
    fs.writeFileSync(path.join(layout.tree, 'notes.txt'), 'SQLite');
    fs.symlinkSync('/etc/hostname', path.join(layout.tree, 'link'));
    fs.mkdirSync(path.join(layout.ltx, 'notes.txt'));
    fs.writeFileSync(path.join(layout.divergence, 'x'), DATABASE);
    assert.equal(holdingOf(layout), 'nothing');
  }));

test('databases: a file in any folder of the tree', () =>
  withLayout((layout) => {
    fs.mkdirSync(path.join(layout.tree, 'a/b'), { recursive: true });
    fs.writeFileSync(path.join(layout.tree, 'a/b/app.db'), DATABASE);
    assert.equal(holdingOf(layout), 'databases');
  }));

for (const apart of [false, true]) {
  const where = apart ? 'each transaction in its file' : 'one file';
  test(`databases: a log that goes on, ${where}; nothing once it ends with a drop`, () =>
    withLayout((layout) => {
      const dir = path.join(layout.ltx, 'app.db');
      writeLog(dir, [{}, {}], { apart });
      assert.equal(holdingOf(layout), 'databases');
      fs.rmSync(dir, { recursive: true });
      writeLog(dir, [{}, {}, DROP], { apart });
      fs.writeFileSync(path.join(layout.state, 'app.db.sums'), 'as before the drop');
      assert.equal(holdingOf(layout), 'nothing');
      fs.rmSync(dir, { recursive: true });
      writeLog(dir, [{}, DROP, {}], { apart });
      assert.equal(holdingOf(layout), 'databases');
    }));
}

test('databases: a torn end of a log is not its end', () =>
  withLayout((layout) => {
    const dir = path.join(layout.ltx, 'app.db');
    writeLog(dir, [{}, DROP]);
    const [file] = fs.readdirSync(dir);
    fs.truncateSync(path.join(dir, file), fs.statSync(path.join(dir, file)).size - 1);
    assert.equal(holdingOf(layout), 'databases');
  }));

test('databases: one dropped, another not', () =>
  withLayout((layout) => {
    writeLog(path.join(layout.ltx, 'a.db'), [{}, DROP]);
    writeLog(path.join(layout.ltx, 'b.db'), [{}]);
    assert.equal(holdingOf(layout), 'databases');
  }));

test('databases: checksums of pages without a log, and the note of a quarantine with any', () =>
  withLayout((layout) => {
    const sums = path.join(layout.state, 'large.db.sums');
    fs.writeFileSync(sums, '');
    assert.equal(holdingOf(layout), 'databases');
    fs.rmSync(sums);
    writeLog(path.join(layout.ltx, 'a.db'), [{}, DROP]);
    fs.writeFileSync(path.join(layout.state, 'a.db.aside'), 'why');
    assert.equal(holdingOf(layout), 'databases');
  }));

test('cannot tell: a log that makes no sense, one that is set aside, a folder that is none', () =>
  withLayout((layout) => {
    const dir = path.join(layout.ltx, 'app.db');
    const file = path.join(dir, '0000000000000001.seg');
    for (const [name, content] of [
      [file, ''],
      [file, 'damaged'],
      [file, Buffer.concat([Buffer.from([0, 0, 0, 200]), Buffer.alloc(200)])],
      [`${file}.orphan`, ''],
      [path.join(dir, '0000000000000001-0000000000000002.ltx'), 'short'],
    ] as const) {
      fs.mkdirSync(dir);
      fs.writeFileSync(name, content);
      assert.equal(holdingOf(layout), 'unknown', `${name} ${content}`);
      fs.rmSync(dir, { recursive: true });
    }
    fs.writeFileSync(dir, '');
    assert.equal(holdingOf(layout), 'unknown');
  }));

test('cannot tell: a file that the disk does not let us open', (t: TestContext) =>
  withLayout((layout) => {
    const file = path.join(layout.tree, 'app.db');
    fs.writeFileSync(file, DATABASE);
    t.mock.method(TreeDoor.prototype, 'open', () => {
      throw Object.assign(new Error('EIO: i/o error, open'), { code: 'EIO', errno: -5 });
    });
    assert.equal(holdingOf(layout), 'unknown');
  }));
