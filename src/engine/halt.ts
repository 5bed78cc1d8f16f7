/** A database that this replica may write for a while, since the primary holds its write lock for it. */
import type { FileLook } from '../store/marker.ts';
import type { EndEntry } from './transaction-writer.ts';

export interface Halt {
  readonly mode: 'wal' | 'rollback';
  /** WAL mode: a descriptor with a SHARED lock, so that no app takes the -wal away. */
  readonly guard: number | undefined;
  /** Why nothing more is committed; undefined as long as it is. */
  closing: string | undefined;
  /** The commit that the primary has been asked for. */
  pending: { readonly commit: number; answer: { readonly error?: string } | undefined } | undefined;
  /** How the database file looked when its last transaction ended; only a journal-less write changes it. */
  look: FileLook | null;
  /** Something was written without a journal. */
  undone: boolean;
  /** Asks the primary for a transaction, and makes it ours. Throws HaltRefused. */
  readonly end: EndEntry;
}

/** The primary, or a rule of the halt lock, says no to a transaction: it must not be seen, and its app must hear of it. */
export class HaltRefused extends Error {
  constructor(reason: string) {
    super(reason);
    this.name = 'HaltRefused';
  }
}
