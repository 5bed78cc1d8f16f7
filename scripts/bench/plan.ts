/** How long and how often to measure. */
export interface Plan {
  readonly quick: boolean;
  readonly rounds: number;
  /** Of one run of an application, ms. */
  readonly windowMs: number;
  /** Of the database that is synchronised, MiB. */
  readonly syncMib: number;
  /** Of the database that snapshots are cut of, MiB. */
  readonly snapshotMib: number;
  /** Of the database that a daemon starts with, MiB. */
  readonly startMib: number;
}

export const FULL: Plan = {
  quick: false,
  rounds: 5,
  windowMs: 1200,
  syncMib: 500,
  snapshotMib: 1024,
  startMib: 10 * 1024,
};

export const QUICK: Plan = {
  quick: true,
  rounds: 2,
  windowMs: 400,
  syncMib: 64,
  snapshotMib: 64,
  startMib: 0,
};
