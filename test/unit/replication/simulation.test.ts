/**
 * A primary and a replica in memory, and a link that breaks: whatever happens to them, in the end both have the
 * same. Every run has a seed.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FEATURE_ANSWERED } from '../../../src/replication/messages.ts';
import { SeededRandom } from '../../harness/random.ts';
import { MemoryStore } from './memory-store.ts';
import { type Connection, connect, PRIMARY, REPLICA, SILENT, settle } from './stand.ts';

const RUNS = Number(process.env.LITEFS_LITE_SIMULATIONS ?? 60);
const STEPS = 120;
const NAMES = ['a.db', 'b.db', 'dir/c.db'];
const PAGES_MAX = 12;
/** The longest that a replica rests between two tries. */
const REST_MS = 61_000;

test('a replica converges after any sequence of faults', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  const first = new SeededRandom();
  t.diagnostic(`LITEFS_LITE_SEED=${first.seed}`);
  const seen: Seen = { kept: 0, connections: 0, drops: 0 };
  for (let run = 0; run < RUNS; run++) {
    const seed = first.seed + run;
    try {
      await simulate(new SeededRandom(seed), (ms) => t.mock.timers.tick(ms), seen);
    } catch (error) {
      throw new Error(`with LITEFS_LITE_SEED=${seed}`, { cause: error });
    }
  }
  // The faults are real ones.
  assert(
    seen.kept > 0 && seen.connections > 2 * RUNS && seen.drops > RUNS / 2,
    JSON.stringify(seen),
  );
});

interface Seen {
  /** Copies that replicas kept. */
  kept: number;
  connections: number;
  /** Databases that ended, and were made again or not. */
  drops: number;
}

async function simulate(
  random: SeededRandom,
  tick: (ms: number) => void,
  seen: Seen,
): Promise<void> {
  // Then only the primary writes, and its log has all: nothing is resynchronised, and no copy is kept.
  const isFollowing = random.below(2) === 0;
  // One of the two is of a release that answers no request: what was on its way then is taken for a fault, and mended.
  const isOld = !isFollowing && random.below(3) === 0;
  const errors: string[] = [];
  const log = { ...SILENT, error: (_: unknown, text: string) => errors.push(text) };
  const primary = new MemoryStore();
  const replica = new MemoryStore();
  let nowMs = 0;
  const clock = { wallMs: () => nowMs, monotonicMs: () => nowMs };
  const pass = async (ms: number) => {
    // In steps that the sessions' heartbeats notice.
    for (let rest = ms; rest > 0; rest -= 1000) {
      nowMs += Math.min(1000, rest);
      tick(Math.min(1000, rest));
      await settle(6);
    }
  };
  let link: Connection | undefined;
  let last: Connection | undefined;
  const held = new Map<string, Promise<void>>();
  const dial = async () => {
    // As the client does, whose patience is short or long.
    if (random.below(2) === 0) await last?.client.drained();
    for (const [name, done] of last?.client.busy() ?? []) {
      held.set(name, done);
      done.then(() => held.get(name) === done && held.delete(name));
    }
    seen.connections++;
    link = connect(
      { store: replica, local: REPLICA, secret: 's', held, log },
      { store: primary, local: PRIMARY, secret: 's' },
      clock,
      isOld ? FEATURE_ANSWERED : 0,
    );
    last = link;
  };
  const cut = () => {
    link?.cut();
    link = undefined;
  };
  let fullUntil = 0;
  replica.diskIsFull = () => nowMs < fullUntil;

  const commit = (store: MemoryStore, name: string) => {
    // Pages are numbered without gaps, as a database's are.
    const size = store.databases.get(name)?.pages.size ?? 0;
    const grown = size < PAGES_MAX && (size === 0 || random.below(3) === 0) ? size + 1 : size;
    const changes = new Map([[grown, BigInt(random.below(2 ** 31))]]);
    if (random.below(2) === 0) changes.set(1 + random.below(grown), BigInt(random.below(2 ** 31)));
    store.commit(name, changes);
  };

  const remove = (name: string) => {
    seen.drops += primary.positions().has(name) ? 1 : 0;
    primary.remove(name);
  };

  const steps: (() => void | Promise<void>)[] = [
    () => commit(primary, random.pick(NAMES)),
    () => commit(primary, random.pick(NAMES)),
    () => {
      const name = random.pick(NAMES);
      for (let i = 0; i < 8; i++) commit(primary, name);
    },
    () => settle(random.below(12)),
    () => settle(random.below(12)),
    () => (link ? undefined : dial()),
    () => (random.below(3) === 0 ? cut() : undefined),
    () => (random.below(4) === 0 ? remove(random.pick(NAMES)) : undefined),
    () => {
      if (random.below(6) === 0) fullUntil = nowMs + random.below(5000);
    },
    () => pass(random.below(1500)),
  ];
  const harm: typeof steps = [
    () => primary.trim(random.pick(NAMES), random.below(4)),
    () => (random.below(8) === 0 ? primary.forget(random.pick(NAMES)) : undefined),
    () =>
      random.below(4) === 0 ? replica.damage(random.pick(NAMES), 1 + random.below(4)) : undefined,
    // An old primary that has become a replica: it has what nobody else has.
    () =>
      link === undefined && random.below(3) === 0 ? commit(replica, random.pick(NAMES)) : undefined,
  ];
  if (!isFollowing) steps.push(...harm);
  for (let step = 0; step < STEPS; step++) await random.pick(steps)();

  fullUntil = 0;
  cut();
  await dial();
  await settle();
  // What comes late does so now.
  await Promise.all(held.values());
  for (let waited = 0; waited < 4 && !agree(primary, replica); waited++) {
    if (link?.ended() !== undefined) await dial();
    await pass(REST_MS);
    await settle();
  }
  cut();
  await settle(4);
  assert.deepEqual(contentOf(replica), contentOf(primary));
  if (isFollowing) {
    assert.deepEqual(replica.kept, []);
    assert.deepEqual(
      errors.filter((text) => text !== 'no space left'),
      [],
    );
  }
  seen.kept += replica.kept.length;
}

function agree(primary: MemoryStore, replica: MemoryStore): boolean {
  return JSON.stringify(contentOf(primary)) === JSON.stringify(contentOf(replica));
}

function contentOf(store: MemoryStore): unknown {
  return [...store.databases]
    .filter(([, { pages }]) => pages.size > 0)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { position, pages }]) => ({
      name,
      position: `${position.txid}/${position.checksum}`,
      pages: [...pages].sort(([a], [b]) => a - b).map(([pgno, value]) => `${pgno}=${value}`),
    }));
}
