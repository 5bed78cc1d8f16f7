/** A database that is none any more: it is told of once, and no longer when it is removed. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { Follower } from '../../../src/engine/capture/follower.ts';
import type { EngineContext } from '../../../src/engine/core/context.ts';
import type { Database } from '../../../src/engine/core/database.ts';
import { type MountEventParts, MountEvents } from '../../../src/engine/mount-events.ts';
import { Scheduler } from '../../../src/engine/tasks/scheduler.ts';
import { withFolder } from '../os/folder.ts';
import { finish, NodeStand } from './node-stand.ts';

/** A node with one database, whose follower and events of the mount are those of a daemon. */
function daemonOf(node: NodeStand) {
  const said: string[] = [];
  const dropped: string[] = [];
  const log = (_: string, message: string) => said.push(message);
  const ctx: EngineContext = { ...node.ctx, log };
  const scheduler = new Scheduler(() => 0);
  const follower = new Follower(ctx, scheduler, (db, status) => {
    db.status = status;
  });
  const { db } = node;
  const events = new MountEvents({
    ctx,
    scheduler,
    follower,
    registry: { get: (name: string) => (name === db.name ? db : undefined) },
    watcher: () => undefined,
    captures: () => true,
    emitDropped: (gone: Database) => dropped.push(gone.name),
  } as unknown as MountEventParts);
  const remove = () => {
    fs.rmSync(node.file);
    events.event({ kind: 'removed', path: db.name });
    while (!scheduler.isIdle) scheduler.step();
  };
  return { said, dropped, follower, remove };
}

for (const kind of ['a former database', 'a file that never was one'] as const) {
  test(`${kind} is degraded until it is removed, and the log says so once`, () =>
    withFolder((folder) => {
      const node = new NodeStand(folder);
      try {
        const { said, dropped, follower, remove } = daemonOf(node);
        if (kind === 'a former database') {
          node.sql('CREATE TABLE t(x);');
          node.capture();
        }
        fs.writeFileSync(node.file, 'garbage\n');
        for (let look = 0; look < 3; look++) {
          follower.fileWritten(node.db);
          finish(follower.flush(node.db));
        }
        assert.equal(node.db.status.state, 'degraded');
        assert.equal(said.length, 1, said.join('\n'));
        assert.match(
          said[0],
          /^app\.db cannot be captured for now: .* not a whole SQLite database/,
        );
        remove();
        assert.deepEqual(node.db.status, { state: 'ok' });
        assert.equal(node.db.suspicion, undefined);
        assert.deepEqual(dropped, ['app.db']);
      } finally {
        node.close();
      }
    }));
}
