/**
 * A node that starts on files that somebody has changed: databases, what SQLite left beside them, the log, its own notes. Then the
 * same happens once more while it runs. Databases that nobody has changed are what they were.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { LiteFsError } from '../../../../src/errors.ts';
import { NodeIdentity } from '../../../../src/lease/node-identity.ts';
import { ofdLock } from '../../../../src/os/locks.ts';
import { DMS_BYTE } from '../../../../src/sqlite/locks.ts';
import { EngineStand } from '../../engine-stand.ts';
import type { SeededRandom } from '../../random.ts';
import { APP, makeSeeds, OTHER, type Role, type Seed, withEngine } from '../engine-seeds.ts';
import type { Grammar, Verdict } from '../grammar.ts';
import { mutate, noise, oddText } from '../mutate.ts';
import { journalDatabase, type SqliteFiles, walDatabase } from '../sqlite-files.ts';
import { madeJournal, superJournal } from './journal.ts';
import { ltxFile, plainHeader } from './ltx.ts';
import { spoilIndex } from './shm.ts';
import { chainedWal } from './wal.ts';

type Change = readonly [file: string, bytes: Buffer];

interface Corpus {
  readonly wals: readonly SqliteFiles[];
  readonly journals: readonly SqliteFiles[];
  readonly entries: readonly Buffer[];
}

/** What a user of the mount can put beside his database, or in its place. */
function besides(random: SeededRandom, { wals, journals }: Corpus): Change {
  const real = random.pick(wals);
  const hot = random.pick(journals);
  const app = `tree/${APP}`;
  switch (random.below(5)) {
    case 0:
      return [app, mutate(random, random.pick([real.db, hot.db]), [real.db, hot.db])];
    case 1: {
      const wal = random.below(2) === 0 ? chainedWal(random, random.pick([512, 1024])) : real.wal;
      return [
        `${app}-wal`,
        random.below(2) === 0 ? mutate(random, wal ?? Buffer.alloc(0)) : (wal ?? Buffer.alloc(0)),
      ];
    }
    case 2: {
      const index = Buffer.from(real.shm ?? Buffer.alloc(32768));
      if (random.below(2) === 0) spoilIndex(random, index);
      return [`${app}-shm`, random.below(3) === 0 ? mutate(random, index) : index];
    }
    case 3: {
      const made =
        random.below(2) === 0 ? madeJournal(random, hot.db.subarray(0, 512)) : hot.journal;
      const journal = made ?? Buffer.alloc(0);
      return [`${app}-journal`, random.below(2) === 0 ? mutate(random, journal) : journal];
    }
    default:
      return [
        `${app}-journal`,
        Buffer.concat([hot.journal ?? Buffer.alloc(0), superJournal(random)]),
      ];
  }
}

/** What only the node itself writes: a disk may have changed it, or another program. */
function notes(random: SeededRandom, seed: Seed, { entries }: Corpus): Change {
  const own = [...seed.files.keys()].filter((name) =>
    /^(ltx|state)\/app\.db|^node\.json/.test(name),
  );
  const file = random.pick(own);
  const bytes = seed.files.get(file) ?? Buffer.alloc(0);
  switch (random.below(6)) {
    case 0:
      return [
        `state/app.db.${random.pick(['aside', 'owner', 'json', 'image', 'sums'])}`,
        noise(random, random.below(300)),
      ];
    case 1: {
      const name = random.pick([
        '0000000000000001',
        '0000000000000002',
        '00000000000000ff',
        'ffffffffffffffff',
      ]);
      const file = ltxFile(random, plainHeader(random), random.below(2) === 0);
      return [
        `ltx/app.db/${name}-${name}.ltx`,
        random.below(2) === 0 ? file : random.pick(entries),
      ];
    }
    case 2:
      return [
        `state/app.db.${random.pick(['aside', 'owner', 'json'])}`,
        Buffer.from(oddJson(random)),
      ];
    default:
      return [file, mutate(random, bytes, entries)];
  }
}

function oddJson(random: SeededRandom): string {
  const odd = () =>
    JSON.stringify(random.pick([oddText(random), null, -1, 2 ** 53, [], {}, true, '0']));
  return `{"position":{"txid":${odd()},"checksum":${odd()}},"database":${odd()},"wal":${odd()},"reason":${odd()},"folders":${odd()},"file":${odd()}}`;
}

function put(dir: string, [name, bytes]: Change): void {
  const file = path.join(dir, name);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, bytes);
}

export const start: Grammar = {
  name: 'start',
  reads: 'data directories: a start of the engine over them, and what comes while it runs',
  // Of node.json, and of a file that is in the way of another.
  codes: ['DATA_DIR'],
  // The engine of a stand goes round while it waits: what that allocates is not counted, only what is kept, and the heap has an end.
  bounds: { ms: 10_000, perByte: 0, anyway: Infinity },
  isStateful: true,
  async begin(folder) {
    const { seeds, entries } = await makeSeeds(folder);
    const corpus: Corpus = {
      wals: [512, 1024].map((pageSize) => walDatabase(folder, pageSize)),
      journals: [journalDatabase(folder, 512, 'FULL'), journalDatabase(folder, 1024, 'OFF')],
      entries,
    };
    return {
      make(random) {
        const seed = random.pick(seeds);
        const role: Role = random.below(6) === 0 ? random.pick(['primary', 'replica']) : seed.role;
        const before = Array.from({ length: random.below(4) }, () =>
          random.below(2) === 0 ? besides(random, corpus) : notes(random, seed, corpus),
        );
        const meanwhile = Array.from({ length: random.below(3) }, () => besides(random, corpus));
        const isUsed = random.below(2) === 0;
        return {
          bytes: [...before, ...meanwhile].reduce((sum, [, bytes]) => sum + bytes.length, 0),
          take: () =>
            withEngine(folder, seed, (dir) => {
              for (const change of before) put(dir, change);
              return run(dir, { seed, role, meanwhile, isUsed });
            }),
        };
      },
      end() {},
    };
  },
};

interface Life {
  readonly seed: Seed;
  readonly role: Role;
  readonly meanwhile: readonly Change[];
  /** Somebody has the wal-index open. */
  readonly isUsed: boolean;
}

async function run(dir: string, { seed, role, meanwhile, isUsed }: Life): Promise<Verdict> {
  const facts = { role, hostname: 'box1', advertiseUrl: undefined, holding: 'databases' };
  let identity: LiteFsError | undefined;
  try {
    NodeIdentity.load(
      path.join(dir, 'node.json'),
      facts as Parameters<typeof NodeIdentity.load>[1],
    );
  } catch (error) {
    if (!(error instanceof LiteFsError)) throw error;
    identity = error;
  }
  const stand = new EngineStand(dir, { role, formerRole: seed.role });
  let user: number | undefined;
  try {
    await stand.start();
    await stand.call('flush', {});
    for (const change of meanwhile) put(dir, change);
    if (isUsed) user = useIndex(`${stand.file(APP)}-shm`);
    await stand.call('flush', {});
    const infos = await stand.call('info', {});
    const other = infos.find(({ name }) => name === OTHER);
    assert(other, 'the database that nobody has changed is not there');
    assert.equal(other.status.state, 'ok', JSON.stringify(other.status));
    assert(other.position.txid >= (seed.txids.get(OTHER) ?? 0));
    await stand.call('tallies', {});
    await tried(stand.call('verify', { database: APP, recall: undefined }));
    await tried(stand.call('pageChecksums', { database: APP }));
    if (user === undefined) await tried(stand.stop());
    if (identity) throw identity;
    return infos.every(({ status }) => status.state === 'ok') ? 'value' : 'refused';
  } finally {
    if (user !== undefined) fs.closeSync(user);
    stand.die();
  }
}

/** Whatever has a code may be refused. */
async function tried(answer: Promise<unknown>): Promise<void> {
  try {
    await answer;
  } catch (error) {
    if (!(error instanceof LiteFsError)) throw error;
  }
}

/** As a connection does as long as it is open. */
function useIndex(file: string): number | undefined {
  if (!fs.statSync(file, { throwIfNoEntry: false })?.isFile()) return undefined;
  const fd = fs.openSync(file, 'r+');
  ofdLock(fd, 'read', DMS_BYTE, 1);
  return fd;
}
