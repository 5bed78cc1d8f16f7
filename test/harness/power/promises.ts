/** What the application had been promised of its databases at a moment of a life. */
import type { BankState } from './bank.ts';
import type { Life } from './life.ts';

export interface Promised {
  /** The newest commit that was on the disk when it returned; undefined when there is none, or it may have been dropped. */
  readonly state: BankState | undefined;
  /** Makings of the database, oldest first. */
  readonly lives: readonly number[];
}

export function promisedAt(life: Life, at: number, bank: string): Promised {
  let state: BankState | undefined;
  const lives: number[] = [];
  for (const { at: when, note } of life.notes) {
    if (!('db' in note) || note.db !== bank) continue;
    // What is made later counts as a making, too: its commit may be there though it has not returned.
    if (note.kind === 'done' && !lives.includes(note.life)) lives.push(note.life);
    if (when >= at) continue;
    if (note.kind === 'dropping') state = undefined;
    else if (note.durable) state = { life: note.life, k: note.k, epoch: note.epoch };
  }
  return { state, lives };
}

/** Whether `a` is an earlier state than `b`; of makings nobody has told of, the later. */
export function isBefore(a: BankState, b: BankState, lives: readonly number[]): boolean {
  if (a.life === b.life) return a.k < b.k;
  const [x, y] = [a, b].map(({ life }) => (lives.includes(life) ? lives.indexOf(life) : Infinity));
  return x < y;
}
