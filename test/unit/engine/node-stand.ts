/** A node without a mount for tests of the engine: one database, its files, and what came of each capture. */
import fs from 'node:fs';
import path from 'node:path';
import { applyQueue } from '../../../src/engine/apply/apply.ts';
import { capture } from '../../../src/engine/capture/capture.ts';
import type { CaptureOutcome, EngineContext } from '../../../src/engine/core/context.ts';
import { type Database, openDatabase } from '../../../src/engine/core/database.ts';
import { assertInvariants } from '../../../src/engine/core/invariants.ts';
import type { Task } from '../../../src/engine/tasks/scheduler.ts';
import type { Position } from '../../../src/ltx/position.ts';
import { SystemAccounts } from '../../../src/os/accounts.ts';
import { createLayout, layoutOf } from '../../../src/store/layout.ts';
import { TreeDoor } from '../../../src/store/tree-door.ts';
import { runSql } from '../../harness/sql.ts';

const NAME = 'app.db';

export interface Applied {
  readonly error: unknown;
  readonly position: Position | undefined;
}

export class NodeStand {
  readonly #dir: string;
  readonly ctx: EngineContext;
  readonly db: Database;
  /** The database for SQLite. */
  readonly file: string;
  /** A test has changed what the engine knows: its invariants are not asked for any more. */
  isBroken = false;
  /** LTX files that were captured or applied, oldest first. */
  readonly entries: Buffer[] = [];

  constructor(dir: string, name = NAME) {
    this.#dir = dir;
    const layout = layoutOf(dir);
    createLayout(layout);
    let random = 1;
    const tree = new TreeDoor(layout.tree);
    this.ctx = {
      layout,
      tree,
      nodeId: 1n,
      compress: true,
      strictVerify: true,
      accounts: new SystemAccounts(),
      ownershipOverride: {},
      wallClockMs: () => 1_700_000_000_000,
      clockMs: () => 0,
      random32: () => random++,
      isDetached: () => false,
      drainEvents: () => {},
      emitEntry: (_, { path: file, offset, length }) => {
        this.entries.push(fs.readFileSync(file).subarray(offset, offset + length));
      },
      emitPosition: () => {},
      emitOwnership: () => {},
      setStatus: (db, status) => {
        db.status = status;
      },
      log: () => {},
    };
    const roots = { mount: tree, tree };
    const warn = (message: string) => {
      throw new Error(message);
    };
    this.db = openDatabase(name, name, layout, roots, warn);
    this.file = path.join(layout.tree, name);
  }

  /** Captures all that is committed; compares every page when `past` its journal. */
  capture(past = false): CaptureOutcome {
    if (past) this.db.suspicion ??= 'a test says so';
    const outcome = finish(capture(this.ctx, this.db));
    if (!this.isBroken) assertInvariants(this.db);
    return outcome;
  }

  /** Runs SQL in an app that leaves the -wal as it is. */
  sql(text: string): void {
    const hadWal = fs.existsSync(`${this.file}-wal`);
    runSql(this.file, text);
    // There are no events here to tell of it.
    if (!hadWal) this.db.writes.walMade();
  }

  /** Applies these LTX files as one batch; what was said of each. */
  apply(...files: readonly (Buffer | { path: string })[]): Applied[] {
    const outcomes: Applied[] = [];
    const queue = files.map((file) => ({
      input: 'path' in file ? file : { bytes: file },
      done: (error: unknown, position: Position | undefined) => outcomes.push({ error, position }),
    }));
    finish(applyQueue(this.ctx, this.db, queue));
    if (!this.isBroken) assertInvariants(this.db);
    return outcomes;
  }

  /** The same files as a process finds them that begins anew. To be closed by the caller. */
  startedAgain(): NodeStand {
    return new NodeStand(this.#dir);
  }

  close(): void {
    this.db.files.close();
    this.db.log.close();
    this.ctx.tree.close();
  }
}

/** Runs a task to its end. One that only rests would never end: nobody else is at these files. */
export function finish<T>(task: Task<T>): T {
  for (let steps = 0; steps < 10_000; steps++) {
    const step = task.next();
    if (step.done) return step.value;
  }
  throw new Error('a task waits for something that does not come');
}
