/** A transaction over several databases that ended with the node: all of it or nothing. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import type { EngineOptions } from '../../../src/engine/protocol.ts';
import { sqlite3 } from '../../harness/app.ts';
import { withFolder } from '../os/folder.ts';
import { EngineStand } from './engine-stand.ts';

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
