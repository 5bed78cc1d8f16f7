/**
 * Transactions that a primary has sent, on their way into the lane of their database: those that come while others are applied
 * are applied together, and become visible at once.
 */
import { applyQueue, isKnown, type PendingApply } from './apply/apply.ts';
import type { EngineContext } from './core/context.ts';
import type { LtxInput } from './core/ltx-input.ts';
import type { Registry } from './core/registry.ts';
import { untilReadOnly } from './halt/borrower.ts';
import type { Scheduler, Task } from './tasks/scheduler.ts';

export interface IncomingParts {
  readonly ctx: EngineContext;
  readonly registry: Registry;
  readonly scheduler: Scheduler;
}

export class Incoming {
  readonly #parts: IncomingParts;
  readonly #queues = new Map<string, PendingApply[]>();

  constructor(parts: IncomingParts) {
    this.#parts = parts;
  }

  /** Applies it behind what has come before. `done` is called once, whatever becomes of it. */
  apply(database: string, input: LtxInput, done: PendingApply['done']): void {
    const queue = this.#queues.get(database);
    if (queue) {
      queue.push({ input, done });
      return;
    }
    this.#queues.set(database, [{ input, done }]);
    this.#parts.scheduler.add(
      database,
      () => this.#applyAll(database, this.#take(database)),
      (error) => {
        // The node stops, before it has begun.
        if (error !== undefined)
          for (const pending of this.#take(database)) pending.done(error, undefined);
      },
    );
  }

  #take(database: string): PendingApply[] {
    const queue = this.#queues.get(database) ?? [];
    this.#queues.delete(database);
    return queue;
  }

  /** At first what we have already, as it is our own (the halt lock); the rest when no application writes here. */
  *#applyAll(database: string, queue: PendingApply[]): Task<void> {
    const { ctx, registry } = this.#parts;
    try {
      const db = registry.replicated(database);
      while (queue.length > 0 && isKnown(db, queue[0].input)) {
        queue.shift()?.done(undefined, db.position);
      }
      if (queue.length === 0) return;
      yield* untilReadOnly(db);
      yield* applyQueue(ctx, db, queue);
    } catch (error) {
      for (const { done } of queue.splice(0)) done(error, undefined);
    }
  }
}
