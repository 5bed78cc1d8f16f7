/** What a round of the state check is about: chosen by its seed, so that the seed repeats it. */
import { SeededRandom } from '../random.ts';
import type { SqliteName } from '../sqlite-builds.ts';

export const MODES = ['wal', 'delete', 'truncate', 'persist', 'memory', 'off'] as const;
export type Mode = (typeof MODES)[number];

/** What its writers do most. */
export const THEMES = [
  'steady',
  'spilling',
  'savepoints',
  'switches',
  'exclusive',
  'short-lived',
  'checkpoints',
  'vacuum',
  'crowd',
] as const;
export type Theme = (typeof THEMES)[number];

export const SYNCHRONOUS = ['off', 'normal', 'full', 'extra'] as const;

export interface RoundPlan {
  readonly seed: number;
  readonly theme: Theme;
  readonly mode: Mode;
  readonly synchronous: string;
  readonly autocheckpoint: number;
  readonly pageSize: number;
  readonly autoVacuum: number;
  readonly cachePages: number;
  /** The SQLite of each writer. One alone is to meet no lock, and has no busy timeout. */
  readonly sqlites: readonly SqliteName[];
  readonly transactions: number;
  /** Another process reads on the primary meanwhile, and keeps what it reads from being checkpointed. */
  readonly isRead: boolean;
  /** Writers are killed now and then. */
  readonly kills: boolean;
  /** The engine of the primary is stopped for moments. */
  readonly pauses: boolean;
  /** Of the primary, in the end. */
  readonly restart: 'none' | 'stop' | 'kill';
}

export interface PlanChoices {
  /** What could be built. */
  readonly sqlites: readonly SqliteName[];
  readonly transactions: number;
}

const PAGE_SIZES = [512, 1024, 1024, 4096, 4096, 4096, 8192, 32768];
const AUTOCHECKPOINTS = [0, 1, 5, 20, 60, 200, 1000, 10_000];
const CACHE_PAGES = [10, 20, 40, 60];
const RESTARTS = ['none', 'none', 'none', 'none', 'none', 'none', 'stop', 'kill'] as const;
const DURABLE: readonly Mode[] = ['wal', 'wal', 'wal', 'delete', 'truncate', 'persist'];

export function planOf(seed: number, choices: PlanChoices): RoundPlan {
  const random = new SeededRandom(seed);
  const theme = random.pick(THEMES);
  const writers = theme === 'crowd' ? 2 + random.below(3) : random.below(3) === 0 ? 2 : 1;
  const isAlone = writers === 1;
  // Without a journal an error in a transaction is the end of the database: only one that meets no other.
  const modes = isAlone ? [...DURABLE, 'memory' as const, 'off' as const] : DURABLE;
  return {
    seed,
    theme,
    mode: random.pick(modes),
    synchronous: random.pick(SYNCHRONOUS),
    autocheckpoint: random.pick(AUTOCHECKPOINTS),
    pageSize: random.pick(PAGE_SIZES),
    autoVacuum: random.below(3),
    cachePages:
      theme === 'spilling' || theme === 'savepoints'
        ? random.pick(CACHE_PAGES)
        : 10 + random.below(500),
    sqlites: Array.from({ length: writers }, () => random.pick(choices.sqlites)),
    transactions: choices.transactions,
    isRead: !isAlone && random.below(2) === 0,
    kills: random.below(2) === 0,
    pauses: random.below(3) === 0,
    restart: random.pick(RESTARTS),
  };
}

export function describePlan(plan: RoundPlan): string {
  const { seed, theme, mode, synchronous, autocheckpoint, pageSize, cachePages } = plan;
  return [
    `seed ${seed}`,
    theme,
    `${mode} ${synchronous}`,
    `autocheckpoint ${autocheckpoint}`,
    `pages of ${pageSize}`,
    `auto_vacuum ${plan.autoVacuum}`,
    `cache ${cachePages}`,
    plan.sqlites.join('+'),
    ...(plan.isRead ? ['read'] : []),
    ...(plan.kills ? ['kills'] : []),
    ...(plan.pauses ? ['pauses'] : []),
    ...(plan.restart === 'none' ? [] : [`then a ${plan.restart}`]),
  ].join(', ');
}
