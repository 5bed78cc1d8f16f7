/**
 * The model, in short: the engine and real SQLites, one system call after the other, in orders that seeds say (harness/model).
 * For longer, and for other seeds:
 *
 *     npm run torture -- model
 *
 * On c7c41e8 seed 4 had commits under synchronous=OFF that a flush said to be captured and the log lacked: a -wal was written,
 * checkpointed and about to be started over before anybody had looked.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runModelRound } from '../../harness/model/round.ts';
import { buildSqlites, SQLITE_NAMES, type SqliteName } from '../../harness/sqlite-builds.ts';
import { describePlan, planOf } from '../../harness/states/plan.ts';

const SEEDS =
  process.env.LITEFS_LITE_SEED === undefined
    ? [4, 5, 14, 42, 109, 205, 212]
    : [Number(process.env.LITEFS_LITE_SEED)];
const TRANSACTIONS = 15;

const { programs, missing } = await buildSqlites(SQLITE_NAMES);
const skip = programs.size === 0 && `not built: ${missing}`;

for (const seed of SEEDS) {
  const sqlites = [...programs.keys()].sort() as SqliteName[];
  const plan = planOf(seed, { sqlites, transactions: TRANSACTIONS });
  test(skip === false ? describePlan(plan) : `seed ${seed}`, { skip }, async (t) => {
    const { faults, ...counts } = await runModelRound(plan, programs);
    t.diagnostic(JSON.stringify(counts));
    assert.deepEqual(faults, []);
    assert(counts.states > 0, 'it has looked at nothing');
  });
}
