/** A transaction over several databases that ended with the node: all of it or nothing. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import type { EngineOptions } from '../../../src/engine/protocol.ts';
import { sqlite3 } from '../../harness/app.ts';
import { EngineStand } from '../../harness/engine-stand.ts';
import { withFolder } from '../os/folder.ts';

const NAMES = ['a.db', 'sub/ä b.db'] as const;
const TREE_NAMES = NAMES.map((name) => Buffer.from(name).toString('latin1'));

interface Interrupted {
  readonly stand: EngineStand;
  /** The super-journal, in the tree. */
  readonly superJournal: string;
  rows(): string[];
}

/**
 * Two databases as they are when power fails in a transaction over both: the first is written, the second not yet,
 * their journals are whole, and the super-journal is there. The application knows them by the paths of a mount.
 */
function withInterrupted(
  options: Partial<EngineOptions>,
  body: (interrupted: Interrupted) => Promise<void>,
): Promise<void> {
  return withFolder(async (folder) => {
    const dir = path.join(folder, 'data');
    const tree = path.join(dir, 'tree');
    const mount = path.join(folder, 'mount');
    const former = new EngineStand(dir);
    fs.mkdirSync(path.join(tree, 'sub'), { recursive: true });
    for (const name of NAMES)
      sqlite3(path.join(tree, name), "CREATE TABLE t(x); INSERT INTO t VALUES('old');");
    await former.start();
    await former.stop();

    fs.renameSync(tree, mount);
    const files = NAMES.map((name) => path.join(mount, name));
    const unwritten = fs.readFileSync(files[1]);
    const db = new Sqlite(files[0]);
    db.exec(
      `ATTACH '${files[1]}' AS other; BEGIN; UPDATE t SET x = 'new'; UPDATE other.t SET x = 'new'`,
    );
    for (const file of files) fs.linkSync(`${file}-journal`, `${file}-kept`);
    db.exec('COMMIT');
    db.close();
    fs.writeFileSync(files[1], unwritten);
    for (const file of files) fs.renameSync(`${file}-kept`, `${file}-journal`);
    const [named] = /\/[^\0]*-mj[0-9A-F]+/.exec(
      fs.readFileSync(`${files[0]}-journal`, 'latin1'),
    ) ?? [''];
    fs.writeFileSync(named, files.map((file) => `${file}-journal\0`).join(''));
    fs.renameSync(mount, tree);

    const stand = new EngineStand(dir, options);
    const rows = () => NAMES.map((name) => sqlite3(path.join(tree, name), 'SELECT x FROM t'));
    await body({ stand, superJournal: path.join(tree, path.basename(named)), rows });
    for (const name of TREE_NAMES) assert.equal(former.database(name).position.txid, 1);
  });
}

test('it is rolled back in all databases while its super-journal exists', () =>
  withInterrupted({}, async ({ stand, superJournal, rows }) => {
    await stand.start();
    assert(!fs.existsSync(superJournal));
    for (const name of TREE_NAMES) assert.equal(stand.database(name).position.txid, 1, name);
    assert.deepEqual(rows(), ['old', 'old']);
    await stand.stop();
  }));

test('it stands in all that were written once the super-journal is gone', () =>
  withInterrupted({}, async ({ stand, superJournal, rows }) => {
    fs.rmSync(superJournal);
    await stand.start();
    assert.equal(stand.database('a.db').position.txid, 2);
    assert.equal(rows()[0], 'new');
    await stand.stop();
  }));

test('a crash between two databases changes nothing', () =>
  withInterrupted({ databases: ['a.db'] }, async ({ stand, superJournal, rows }) => {
    await stand.start();
    assert(fs.existsSync(superJournal), 'the other database needs it');
    await stand.stop();
    const again = new EngineStand(stand.engine.options.dataDir);
    await again.start();
    assert(!fs.existsSync(superJournal));
    assert.deepEqual(rows(), ['old', 'old']);
    await again.stop();
  }));

/** A hot journal of one segment without records, that ends with this name of a super-journal. */
function journalNaming(name: Buffer): Buffer {
  const magic = Buffer.from('d9d505f920a163d7', 'hex');
  const header = Buffer.alloc(512);
  magic.copy(header);
  for (const [at, value] of [1, 0, 0, 1, 512, 4096].entries()) {
    if (at > 1) header.writeUInt32BE(value, 4 + at * 4);
  }
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32BE(name.length, 0);
  trailer.writeUInt32BE([...name].reduce((sum, byte) => sum + ((byte << 24) >> 24), 0) >>> 0, 4);
  return Buffer.concat([header, Buffer.alloc(4), name, trailer, magic]);
}

test('a name that was made up stops no start', () =>
  withFolder(async (folder) => {
    const dir = path.join(folder, 'data');
    const file = path.join(dir, 'tree/a.db');
    const outside = path.join(folder, 'outside-mj00000090');
    fs.writeFileSync(outside, 'of root');
    const former = new EngineStand(dir);
    sqlite3(file, 'CREATE TABLE t(x)');
    await former.start();
    await former.stop();
    const names = [
      Buffer.from('/x\0y-mj00000090'),
      Buffer.from(`/${'x'.repeat(300)}-mj00000090`),
      Buffer.from(`/x/${'y/'.repeat(1500)}-mj00000090`),
      Buffer.from('/dev/null/x-mj00000090'),
      Buffer.from('../../outside-mj00000090'),
      Buffer.from(outside),
    ];
    for (const name of names) {
      fs.writeFileSync(`${file}-journal`, journalNaming(name));
      const stand = new EngineStand(dir);
      await stand.start();
      assert.equal(stand.database('a.db').position.txid, 1, name.toString());
      await stand.stop();
      assert.equal(fs.readFileSync(outside, 'utf8'), 'of root');
    }
  }));
