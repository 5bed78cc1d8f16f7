import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import readline from 'node:readline';
import { describe, test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { inSync, type Passthrough, startCluster, type TestNode } from '../harness/cluster.ts';
import { SeededRandom } from '../harness/random.ts';

const WRITER = path.resolve(import.meta.dirname, '../harness/writer.ts');
/** More in a soak: LITEFS_LITE_CRASH_ROUNDS=300. */
const ROUNDS = Number(process.env.LITEFS_LITE_CRASH_ROUNDS ?? 5);
const ACKS_MAX = 150;

interface Writer {
  readonly process: ChildProcess;
  readonly acknowledged: number[];
  /** Resolves when so many commits were acknowledged, or it has ended. */
  acks(count: number): Promise<void>;
  readonly ended: Promise<unknown>;
}

function startWriter(file: string, mode: string, synchronous: string): Writer {
  const child = spawn(process.execPath, [WRITER, file, mode, synchronous], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const acknowledged: number[] = [];
  const lines = readline.createInterface({ input: child.stdout });
  const ended = once(child, 'close');
  const waiting: (() => void)[] = [];
  lines.on('line', (line) => {
    acknowledged.push(Number(line));
    for (const look of waiting) look();
  });
  return {
    process: child,
    acknowledged,
    ended,
    acks: (count) =>
      Promise.race([
        ended.then(() => {}),
        new Promise<void>((resolve) => {
          const look = () => acknowledged.length >= count && resolve();
          waiting.push(look);
          look();
        }),
      ]),
  };
}

function idsIn(file: string, readonly: boolean): Set<number> {
  const db = new Sqlite(file, { readonly });
  try {
    assert.equal(db.pragma('integrity_check', { simple: true }), 'ok', file);
    return new Set(db.prepare('SELECT id FROM t').pluck().all() as number[]);
  } finally {
    db.close();
  }
}

for (const passthrough of ['auto', 'off'] as Passthrough[]) {
  describe(`kill -9 at random points, passthrough ${passthrough}`, () => {
    const random = new SeededRandom();
    test(`nothing that was committed is lost, seed ${random.seed}`, async () => {
      const { cluster, primary, replica } = await startCluster(passthrough);
      const committed = new Map<string, number[]>();
      try {
        for (let round = 0; round < ROUNDS; round++) {
          const mode = random.pick(['wal', 'delete', 'truncate', 'persist']);
          const name = `${mode}.db`;
          const synchronous = random.pick(['normal', 'full', 'off']);
          const victim = random.pick(['primary', 'replica', 'writer']);
          const what = `seed ${random.seed}, round ${round}: ${victim}, ${mode}, synchronous=${synchronous}`;
          const writer = startWriter(primary.file(name), mode, synchronous);
          await writer.acks(random.below(ACKS_MAX));
          if (victim === 'primary') await primary.kill();
          if (victim === 'replica') await replica.kill();
          // After the death of the daemon an app may go on for a while: what it sees committed counts.
          if (victim !== 'writer') await writer.acks(writer.acknowledged.length + random.below(50));
          writer.process.kill('SIGKILL');
          await writer.ended;
          if (victim === 'primary') await primary.start();
          if (victim === 'replica') await replica.start();
          committed.set(name, [...(committed.get(name) ?? []), ...writer.acknowledged]);
          await assertAll(what, name, committed.get(name) ?? [], primary, replica);
        }
      } finally {
        await cluster.close();
      }
    });
  });
}

async function assertAll(
  what: string,
  name: string,
  committed: readonly number[],
  primary: TestNode,
  replica: TestNode,
): Promise<void> {
  if (committed.length === 0) return;
  try {
    // Who opens it for writing rolls back what the dead writer has left; a reader may not.
    const ours = idsIn(primary.file(name), false);
    const lost = committed.filter((id) => !ours.has(id));
    assert.deepEqual(
      lost,
      [],
      `lost on the primary, of ${committed.length} up to ${committed.at(-1)}`,
    );
    await inSync(primary, replica, name);
    const theirs = idsIn(replica.file(name), true);
    assert.deepEqual(theirs, ours, 'the replica has other rows');
  } catch (error) {
    throw new Error(`${what}\n${primary.logText()}\n${replica.logText()}`, { cause: error });
  }
}
