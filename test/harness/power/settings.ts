/** Which databases a life has, and on what, by chance. */
import type { SeededRandom } from '../random.ts';
import type { BankSettings } from './app.ts';
import type { LifeSettings } from './life.ts';

type BankKind = Pick<BankSettings, 'journalMode' | 'synchronous'>;

const BANKS: readonly BankKind[] = [
  { journalMode: 'wal', synchronous: 'normal' },
  { journalMode: 'wal', synchronous: 'full' },
  { journalMode: 'wal', synchronous: 'off' },
  { journalMode: 'delete', synchronous: 'full' },
  { journalMode: 'delete', synchronous: 'extra' },
  { journalMode: 'delete', synchronous: 'off' },
  { journalMode: 'truncate', synchronous: 'full' },
  { journalMode: 'persist', synchronous: 'full' },
  { journalMode: 'persist', synchronous: 'normal' },
];
const BANK_COUNT = 5;
/** In pages. With 0 an application has all in the -wal until it checkpoints by itself. */
const AUTOCHECKPOINTS = [0, 20, 100, 1000];
/** In pages: the first is smaller than some transactions, which then spill before their commit. */
const CACHE_SIZE = 2000;
const CACHE_SIZES = [20, CACHE_SIZE];
const EXT4_OPTIONS = [
  'commit=1',
  'commit=1',
  'commit=5',
  'commit=1,noauto_da_alloc',
  'commit=1,nodelalloc',
];
/** The short one makes of a young database what an old one is: its log begins in the middle of its history. */
const RETENTIONS = ['2s', '2s', '10m'];

export function chooseLife(random: SeededRandom): LifeSettings {
  const pool = [...BANKS];
  const banks: BankSettings[] = [];
  while (banks.length < BANK_COUNT) {
    const [bank] = pool.splice(random.below(pool.length), 1);
    banks.push(
      bankOf(bank, {
        autocheckpoint: random.pick(AUTOCHECKPOINTS),
        // What spilling does to a -wal is for the check of states.
        cacheSize: bank.journalMode === 'wal' ? CACHE_SIZE : random.pick(CACHE_SIZES),
      }),
    );
  }
  return {
    seed: random.below(0x7fffffff),
    banks,
    passthrough: random.below(4) > 0 ? 'auto' : 'off',
    mountOptions: random.pick(EXT4_OPTIONS),
    config: { data: { retention: random.pick(RETENTIONS), 'retention-monitor-interval': '1s' } },
  };
}

/** A life with these databases, on disks as most have them. */
export function plainLife(banks: readonly BankKind[], config = {}): LifeSettings {
  return {
    seed: 1,
    banks: banks.map((bank) => bankOf(bank)),
    passthrough: 'auto',
    mountOptions: 'commit=5',
    config,
  };
}

/** All that there are. */
export function allBanks(): LifeSettings {
  return { ...plainLife(BANKS), mountOptions: 'commit=1' };
}

function bankOf(
  bank: BankKind,
  sizes = { autocheckpoint: 1000, cacheSize: CACHE_SIZE },
): BankSettings {
  return { ...bank, ...sizes, name: `${bank.journalMode}-${bank.synchronous}.db` };
}
