/** What is left of a stage (stage.ts) on which something has happened: all that the disks were asked for, and what for. */
import type { Passthrough } from '../cluster.ts';
import type { AppNote, BankSettings } from './app.ts';
import type { BlockRecord } from './block-log.ts';
import type { History } from './history.ts';

/** The disk of each has its number here. */
export const ROLES = ['primary', 'replica'] as const;
export type NodeRole = (typeof ROLES)[number];

export interface LifeSettings {
  readonly seed: number;
  readonly banks: readonly BankSettings[];
  readonly passthrough: Passthrough;
  /** Of mount(8). */
  readonly mountOptions: string;
  /** More of the config files. */
  readonly config: Record<string, unknown>;
  /** Files that the disks begin as, in the order of `ROLES`; absent: they are empty. */
  readonly begin?: readonly string[];
}

export type LifeNote = AppNote | { kind: 'event'; what: string } | { kind: 'survivors'; n: number };

/** A note, and how many records there were when it was made. */
export interface PlacedNote {
  readonly at: number;
  readonly note: LifeNote;
}

export interface Life {
  readonly settings: LifeSettings;
  /** The file with what the disks were asked for (block-log.ts), and what is in it. */
  readonly log: string;
  readonly records: readonly BlockRecord[];
  readonly notes: readonly PlacedNote[];
  readonly history: History;
  /** Folders with the data directories of both nodes, `<role>/data`, as kill -9 at a `survivors` note leaves them. */
  readonly survivors: readonly string[];
}
