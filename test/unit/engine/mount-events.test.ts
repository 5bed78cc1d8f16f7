import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import type { Obstacles } from '../../../src/engine/apply/obstacles.ts';
import { Follower } from '../../../src/engine/capture/follower.ts';
import type { CaptureOutcome } from '../../../src/engine/core/context.ts';
import { Registry } from '../../../src/engine/core/registry.ts';
import type { TreeWatcher, WatcherEvents } from '../../../src/engine/files/watcher.ts';
import type { HaltBorrower } from '../../../src/engine/halt/borrower.ts';
import { MountEvents } from '../../../src/engine/mount-events.ts';
import { Scheduler } from '../../../src/engine/tasks/scheduler.ts';
import type { DeferredOperation } from '../../../src/fuse/policy.ts';
import { formatPosition } from '../../../src/ltx/position.ts';
import { cString, errno, rename, systemError } from '../../../src/os/libc.ts';
import { sqlite3 } from '../../harness/app.ts';
import { withFolder } from '../os/folder.ts';
import { NodeStand } from './node-stand.ts';

interface Stand {
  readonly events: MountEvents;
  readonly registry: Registry;
  readonly follower: Follower;
  /** What the -pos files that were opened have, in order. */
  readonly answers: readonly (string | undefined)[];
  /** Where the files are. */
  readonly tree: string;
  /** Runs SQL in an application. */
  sql(name: string, text: string): void;
  /** The kernel drops all events that have not been told. */
  overflow(): void;
  /** What the system says to a watch of a directory. */
  watching(refusal: ((dir: string) => Error | undefined) | undefined): void;
  /** Goes on until nothing is to be looked at any more. */
  settle(): void;
  /** Goes on for so long. */
  pass(ms: number): void;
}

function withStand(body: (stand: Stand) => void): Promise<void> {
  return withFolder((folder) => {
    const node = new NodeStand(folder);
    const { layout } = node.ctx;
    const clock = { ms: 0 };
    const ctx = { ...node.ctx, clockMs: () => clock.ms };
    const roots = { mount: ctx.tree, tree: ctx.tree };
    const registry = new Registry(layout, roots, undefined, assert.fail);
    const scheduler = new Scheduler(ctx.clockMs);
    const follower = new Follower(ctx, scheduler, () => {});
    const answers: (string | undefined)[] = [];
    let isLost = false;
    let refusal: ((dir: string) => Error | undefined) | undefined;
    const watch = (dir: string) => {
      const error = refusal?.(dir);
      if (error) throw error;
    };
    const drain = (to: WatcherEvents) => {
      if (isLost) to.overflow();
      isLost = false;
    };
    const events = new MountEvents({
      ctx,
      registry,
      scheduler,
      follower,
      watcher: () => ({ drain, watch }) as unknown as TreeWatcher,
      captures: () => true,
      halts: {} as HaltBorrower,
      isLent: () => false,
      obstacles: {} as Obstacles,
      resume: (_, answer) => answers.push(answer),
      emitDropped: () => {},
    });
    try {
      body({
        events,
        registry,
        follower,
        answers,
        tree: layout.tree,
        sql: (name, text) => sqlite3(path.join(layout.tree, name), text),
        overflow: () => {
          isLost = true;
        },
        settle: () => {
          for (let looks = 0; looks < 50; looks++) {
            follower.poll();
            while (!scheduler.isIdle) scheduler.step();
            const waitMs = follower.nextInMs();
            if (waitMs === undefined) return;
            clock.ms += waitMs;
          }
          assert.fail('it looks for ever');
        },
        watching: (to) => {
          refusal = to;
        },
        pass: (ms) => {
          for (let passed = 0; passed < ms; passed++, clock.ms++) {
            follower.poll();
            while (scheduler.nextInMs() === 0) scheduler.step();
          }
        },
      });
    } finally {
      for (const db of registry) {
        db.files.close();
        db.log.close();
      }
      node.close();
    }
  });
}

const TABLE = 'CREATE TABLE t(x); INSERT INTO t VALUES(1);';
const WITHOUT_JOURNAL = 'PRAGMA journal_mode=memory; INSERT INTO t VALUES(2);';

describe('the position', () => {
  const open: DeferredOperation = { token: 1n, kind: 'open', path: 'app.db-pos' };

  /** A database with a commit that is not captured, and a follower whose looks end like that as long as there are some. */
  const withUncaptured = (
    outcomes: CaptureOutcome[],
    body: (stand: Stand, positions: () => [before: string, now: string]) => void,
  ) =>
    withStand((stand) => {
      const { registry, sql, events, settle, follower } = stand;
      sql('app.db', TABLE);
      events.event({ kind: 'released', path: 'app.db', pid: 1 });
      settle();
      const db = registry.get('app.db');
      assert(db);
      const shown = () => `${formatPosition(db.position)}\n`;
      const before = shown();
      sql('app.db', 'INSERT INTO t VALUES(2);');
      db.suspicion = 'a test says so';
      const flush = follower.flush.bind(follower);
      follower.flush = function* (...args) {
        return outcomes.shift() ?? (yield* flush(...args));
      };
      body(stand, () => [before, shown()]);
    });

  // On 15c890b it was answered after one look, whatever had come of that.
  it('is told once what is committed can be told', () =>
    withUncaptured(['again', 'again', 'again'], ({ events, answers, pass }, positions) => {
      events.deferred(open);
      pass(20);
      const [before, now] = positions();
      assert.notEqual(now, before);
      assert.deepEqual(answers, [now]);
    }));

  it('does not wait for what may keep us from reading for long', () =>
    withUncaptured(['busy'], ({ events, answers, pass }, positions) => {
      events.deferred(open);
      pass(1);
      assert.deepEqual(answers, [positions()[0]]);
    }));

  it('is not waited for without end', () =>
    withUncaptured(new Array(10_000).fill('again'), ({ events, answers, pass }, positions) => {
      events.deferred(open);
      pass(1000);
      assert.deepEqual(answers, []);
      pass(1500);
      assert.deepEqual(answers, [positions()[0]]);
    }));
});

describe('two names that are exchanged', () => {
  const exchange = ({ tree, events, settle }: Stand, name: string, newName: string) => {
    const [from, to] = [name, newName].map((one) => cString(path.join(tree, one)));
    assert.equal(rename(from, to, 2), 0);
    events.event({ kind: 'renamed', path: name, newPath: newName });
    settle();
  };

  // On 15c890b the names below the second folder stayed as they were.
  it('of folders: each database is where it is now', () =>
    withStand((stand) => {
      const { registry, tree, sql, events, settle } = stand;
      for (const name of ['a/both.db', 'a/of-a.db', 'b/both.db', 'b/deep/of-b.db']) {
        fs.mkdirSync(path.dirname(path.join(tree, name)), { recursive: true });
        sql(name, `CREATE TABLE t(x); INSERT INTO t VALUES('${name}')`);
      }
      for (const dir of ['a', 'b']) events.event({ kind: 'created', path: dir, isFile: false });
      settle();
      const sumOf = (name: string) => registry.get(name)?.position.checksum;
      const before = ['a/both.db', 'a/of-a.db', 'b/both.db', 'b/deep/of-b.db'].map(sumOf);
      assert(before.every((sum) => sum));
      exchange(stand, 'a', 'b');
      assert.deepEqual(
        ['b/both.db', 'b/of-a.db', 'a/both.db', 'a/deep/of-b.db'].map(sumOf),
        before,
      );
      for (const gone of ['a/of-a.db', 'b/deep/of-b.db']) assert.equal(sumOf(gone), 0n);
    }));

  it('of files: each has the pages of the other', () =>
    withStand((stand) => {
      const { registry, sql, events, settle } = stand;
      for (const name of ['one.db', 'two.db']) {
        sql(name, `CREATE TABLE t(x); INSERT INTO t VALUES('${name}')`);
        events.event({ kind: 'released', path: name, pid: 1 });
      }
      settle();
      const sumOf = (name: string) => registry.get(name)?.position.checksum;
      const [one, two] = ['one.db', 'two.db'].map(sumOf);
      assert.notEqual(one, two);
      exchange(stand, 'one.db', 'two.db');
      assert.deepEqual(['one.db', 'two.db'].map(sumOf), [two, one]);
    }));
});

const tooMany = () => systemError('inotify_add_watch', errno.ENOSPC, 'a folder');

describe('a folder that cannot be watched', () => {
  // On e8b0209 what was in it was captured once, and what came behind it in the tree not at all.
  it('is looked at again and again, and keeps nothing from the others', () =>
    withStand(({ events, registry, tree, sql, watching, pass, settle }) => {
      const names = ['a/app.db', 'b/app.db'];
      const txids = () => names.map((name) => registry.get(name)?.position.txid);
      watching((dir) => (dir === 'a' ? tooMany() : undefined));
      for (const name of names) {
        fs.mkdirSync(path.join(tree, path.dirname(name)));
        sql(name, TABLE);
      }
      events.event({ kind: 'created', path: 'a', isFile: false });
      pass(100);
      assert.deepEqual(txids(), [1, 1]);
      sql('a/app.db', WITHOUT_JOURNAL);
      pass(2000);
      assert.deepEqual(txids(), [2, 1]);
      watching(undefined);
      pass(2000);
      settle();
    }));

  // On e8b0209 they stayed what they were: in WAL mode only a -wal tells of commits.
  it('hides no databases that have taken the names of others', () =>
    withStand(({ events, registry, tree, sql, watching, settle }) => {
      for (const dir of ['a', 'b']) {
        fs.mkdirSync(path.join(tree, dir));
        sql(`${dir}/app.db`, `PRAGMA journal_mode=wal; CREATE TABLE ${dir}(x);`);
        events.event({ kind: 'created', path: dir, isFile: false });
      }
      settle();
      const sums = () => ['a', 'b'].map((dir) => registry.get(`${dir}/app.db`)?.position.checksum);
      const before = sums();
      const [from, to] = ['a', 'b'].map((dir) => cString(path.join(tree, dir)));
      assert.equal(rename(from, to, 2), 0);
      let refusals = 1;
      watching(() => (refusals-- > 0 ? tooMany() : undefined));
      events.event({ kind: 'renamed', path: 'a', newPath: 'b' });
      settle();
      assert.deepEqual(sums(), before.reverse());
    }));
});

describe('events that the kernel has dropped', () => {
  it('leave nothing behind: of databases that are known and not', () =>
    withStand(({ events, registry, sql, overflow, settle }) => {
      const txidOf = (name: string) => registry.get(name)?.position.txid;
      sql('known.db', TABLE);
      sql('wal.db', `PRAGMA journal_mode=wal; ${TABLE}`);
      overflow();
      events.drainWrites();
      settle();
      assert.deepEqual([txidOf('known.db'), txidOf('wal.db')], [1, 1]);
      sql('known.db', WITHOUT_JOURNAL);
      sql('new.db', TABLE);
      overflow();
      events.drainWrites();
      settle();
      assert.deepEqual(['known.db', 'wal.db', 'new.db'].map(txidOf), [2, 1, 1]);
    }));

  it('are not taken for part of a transaction whose journal ends', () =>
    withStand(({ events, registry, sql, overflow, settle }) => {
      sql('app.db', TABLE);
      registry.open('app.db');
      overflow();
      events.drainWrites();
      settle();
      sql('app.db', WITHOUT_JOURNAL);
      // Nothing tells of what is between, not even a change counter.
      const db = registry.get('app.db');
      assert(db);
      db.changeCounter++;
      overflow();
      const end: DeferredOperation = { token: 1n, kind: 'unlink', path: 'app.db-journal' };
      events.deferred(end);
      settle();
      assert.equal(db.position.txid, 2);
    }));
});
