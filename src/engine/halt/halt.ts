/** A database that this replica may write for a while, since the primary holds its write lock for it. */
import type { HaltState } from '../core/database.ts';
import type { TransactionWriter } from '../core/transaction-writer.ts';
import type { Task } from '../tasks/scheduler.ts';

export interface Halt extends HaltState {
  /** A descriptor with a SHARED lock, so that no application takes the -wal away. */
  readonly guard: number;
  /** Why nothing more is committed; undefined as long as it is. */
  closing: string | undefined;
  /** The commit that the primary has been asked for. */
  pending: { readonly commit: number; answer: { readonly error?: string } | undefined } | undefined;
  page1: Buffer | undefined;
  /** Asks the primary for a transaction, and makes it ours. Throws HaltRefused. */
  readonly end: (writer: TransactionWriter) => Task<void>;
}

/** The primary, or a rule of the halt lock, says no to a transaction: it must not be seen, and its app must hear of it. */
export class HaltRefused extends Error {
  constructor(reason: string) {
    super(reason);
    this.name = 'HaltRefused';
  }
}
