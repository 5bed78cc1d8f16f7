import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { TreeWatcher, type WatcherEvents } from '../../../src/engine/watcher.ts';
import { withFolder } from '../os/folder.ts';

it('tells of writes and of the beginnings of journals in the order in which they happened', () =>
  withFolder((tree) => {
    const file = (suffix = '') => path.join(tree, `app.db${suffix}`);
    fs.writeFileSync(file(), 'x');
    const watcher = new TreeWatcher(tree);
    const seen: string[] = [];
    const events: WatcherEvents = {
      walTouched: (name) => seen.push(`wal of ${name} touched`),
      walMade: (name) => seen.push(`wal of ${name} made`),
      fileWritten: (name) => seen.push(`${name} written`),
      journalBegun: (name) => seen.push(`journal of ${name}`),
      overflow: () => seen.push('overflow'),
    };
    try {
      watcher.watch('');
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
      watcher.drain(events);
      assert.deepEqual(seen, [
        'app.db written',
        'journal of app.db',
        'app.db written',
        'app.db written',
        'journal of app.db',
        'app.db written',
        'wal of app.db made',
        'wal of app.db touched',
      ]);
    } finally {
      watcher.close();
    }
  }));
