/** That the check of hostile bytes sees what it looks for: readers that are broken on purpose, each in its way. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { LiteFsError } from '../../../src/errors.ts';
import { runCampaign } from '../../harness/bytes/campaign.ts';
import { type Grammar, type Input, PURE } from '../../harness/bytes/grammar.ts';
import { broken } from '../../harness/bytes/grammars/broken.ts';
import { mutate } from '../../harness/bytes/mutate.ts';
import { type Fault, runRounds } from '../../harness/bytes/rounds.ts';
import { SeededRandom } from '../../harness/random.ts';

const BAD_SEED = 7;

/** A grammar that does this with one input of ten, and nothing with the others. */
function doing(take: (folder: string) => void): Grammar {
  return {
    name: 'doing',
    reads: 'nothing',
    codes: ['PROTOCOL'],
    bounds: { ...PURE, ms: 20 },
    isStateful: false,
    begin: (folder) => ({
      make(random): Input {
        const isBad = random.below(1000) === new SeededRandom(BAD_SEED).below(1000);
        return {
          bytes: 10,
          take() {
            if (isBad) take(folder);
            return 'value';
          },
        };
      },
      end() {},
    }),
  };
}

async function faultsOf(take: (folder: string) => void): Promise<string[]> {
  const faults: Fault[] = [];
  await runRounds({
    grammar: doing(take),
    seed: 1,
    inputs: 10,
    msMax: Infinity,
    fault: (fault) => faults.push(fault),
  });
  return faults.map(({ kind, seed }) => `${kind} ${seed}`);
}

test('another error than one with a code of the grammar is a fault, with its seed', async () => {
  const thrown = (error: Error) =>
    faultsOf(() => {
      throw error;
    });
  assert.deepEqual(await thrown(new RangeError('x')), [`error ${BAD_SEED}`]);
  assert.deepEqual(await thrown(new LiteFsError('DISK', 'x')), [`error ${BAD_SEED}`]);
  assert.deepEqual(await thrown(new LiteFsError('PROTOCOL', 'x')), []);
});

test('so is what takes long each time, and much memory for what was given', async () => {
  // Of the processor, which counts. With few looks at it: each makes numbers.
  const spin = () => {
    const before = process.cpuUsage();
    while (process.cpuUsage(before).user < 40_000) for (let i = 0; i < 1e5; i++);
  };
  assert.deepEqual(await faultsOf(spin), [`slow ${BAD_SEED}`]);
  assert.deepEqual(await faultsOf(() => Buffer.alloc(64 << 20)), [`memory ${BAD_SEED}`]);
  const list = () => Array.from({ length: 1e6 }, (_, i) => ({ i }));
  assert((await faultsOf(list)).includes(`memory ${BAD_SEED}`));
});

test('so is a file outside of the folder', async () => {
  const faults = await faultsOf((folder) => fs.writeFileSync(path.join(folder, '../x'), 'x'));
  assert.equal(faults.length > 0 && faults.every((fault) => fault.startsWith('outside ')), true);
  assert.deepEqual(await faultsOf((folder) => fs.writeFileSync(path.join(folder, 'x'), 'x')), []);
});

test('a process that hangs or dies is seen, and the inputs behind are taken', async () => {
  const faults: Fault[] = [];
  const totals = await runCampaign({
    shares: [{ grammar: broken, inputs: 40 }],
    seed: 0,
    workers: 1,
    msMax: Infinity,
    heapMib: 64,
    hangMs: 4000,
    isEnough: () => false,
    fault: (fault) => faults.push(fault),
  });
  assert.deepEqual(
    faults.map(({ kind, seed }) => `${kind} ${seed}`),
    ['hang 5', 'crash 10', 'crash 15', 'crash 20'],
  );
  assert.equal(totals.get(broken.name)?.inputs, 40);
});

test('a seed makes the same bytes each time', () => {
  const made = (seed: number) =>
    mutate(new SeededRandom(seed), Buffer.from('some bytes, not many'));
  for (let seed = 0; seed < 200; seed++) assert.deepEqual(made(seed), made(seed));
  assert.notDeepEqual(made(1), made(2));
});
