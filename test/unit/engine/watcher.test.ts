import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { TreeWatcher, type WatcherEvents } from '../../../src/engine/files/watcher.ts';
import { CutMarks } from '../../../src/mount/cut-marks.ts';
import { TreeDoor } from '../../../src/store/tree-door.ts';
import { withFolder } from '../os/folder.ts';

it('tells of writes, of the beginnings of journals and of cuts in the order in which they happened', () =>
  withFolder((folder) => {
    const [tree, cuts] = ['tree', 'cuts'].map((name) => path.join(folder, name));
    for (const dir of [tree, cuts]) fs.mkdirSync(dir);
    const file = (suffix = '') => path.join(tree, `app.db${suffix}`);
    fs.writeFileSync(file(), 'x');
    const door = new TreeDoor(tree);
    const watcher = new TreeWatcher(door);
    const seen: string[] = [];
    const events: WatcherEvents = {
      walWritten: (name) => seen.push(`wal of ${name} written`),
      shmTouched: (name) => seen.push(`shm of ${name} touched`),
      walMade: (name) => seen.push(`wal of ${name} made`),
      fileWritten: (name) => seen.push(`${name} written`),
      journalBegun: (name) => seen.push(`journal of ${name}`),
      cutBegun: (name, mark) => seen.push(`cut ${mark} of ${name} begun`),
      cutEnded: (name, mark) => seen.push(`cut ${mark} of ${name} ended`),
      ownershipChanged: (name) => seen.push(`owner of ${name || 'all'}`),
      overflow: () => seen.push('overflow'),
    };
    try {
      watcher.watch('');
      watcher.watchCuts(cuts);
      const marks = new CutMarks(cuts);
      const now = new Date();
      fs.appendFileSync(file(), 'y');
      fs.writeFileSync(file('-journal'), 'made');
      fs.appendFileSync(file(), 'y');
      fs.truncateSync(file('-journal'));
      fs.appendFileSync(file(), 'y');
      fs.lutimesSync(file('-journal'), now, now);
      fs.writeFileSync(file('-journal'), 'used again');
      fs.appendFileSync(file(), 'y');
      fs.rmSync(file('-journal'));
      fs.chmodSync(file(), 0o600);
      fs.writeFileSync(file('-wal'), '');
      fs.appendFileSync(file(), 'before a cut');
      marks.begin('app.db');
      fs.truncateSync(file(), 1);
      marks.end();
      fs.appendFileSync(file(), 'behind it');
      fs.writeFileSync(path.join(cuts, 'other'), '');
      watcher.drain(events);
      assert.deepEqual(seen, [
        'app.db written',
        'journal of app.db',
        'app.db written',
        'app.db written',
        'journal of app.db',
        'app.db written',
        'owner of app.db',
        'wal of app.db made',
        'wal of app.db written',
        'app.db written',
        'cut 1 of app.db begun',
        'app.db written',
        'cut 1 of app.db ended',
        'app.db written',
      ]);
    } finally {
      watcher.close();
      door.close();
    }
  }));
