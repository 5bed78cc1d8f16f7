/** Two nodes without mounts: SQLite writes on one, and what is captured there is applied on the other. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { sqlite3 } from '../../harness/app.ts';
import { databaseImage } from '../../harness/image.ts';
import { withFolder } from '../os/folder.ts';
import { NodeStand } from './node-stand.ts';

export interface Two {
  readonly primary: NodeStand;
  readonly replica: NodeStand;
  /** Runs SQL on the primary and captures it; the -wal stays as after an app that goes on. */
  commit(sql: string): Buffer[];
}

export function withTwo(mode: string, body: (two: Two) => void | Promise<void>): Promise<void> {
  return withFolder(async (folder) => {
    const primary = new NodeStand(path.join(folder, 'primary'));
    const replica = new NodeStand(path.join(folder, 'replica'));
    const commit = (sql: string) => {
      const from = primary.entries.length;
      primary.sql(`PRAGMA journal_mode=${mode};\n${sql}`);
      assert.equal(primary.capture(mode !== 'wal'), 'done');
      return primary.entries.slice(from);
    };
    try {
      commit('CREATE TABLE t(id INTEGER PRIMARY KEY, data BLOB); INSERT INTO t(data) VALUES(1);');
      await body({ primary, replica, commit });
    } finally {
      primary.close();
      replica.close();
    }
  });
}

/** The same position, the same bytes, and SQLite finds nothing wrong. */
export function assertSame({ primary, replica }: Two): void {
  assert.deepEqual(replica.db.position, primary.db.position);
  assert(databaseImage(replica.file).equals(databaseImage(primary.file)), 'the images differ');
  assert.equal(sqlite3(`file:${replica.file}?mode=ro`, 'PRAGMA integrity_check'), 'ok');
}
