/**
 * `npm run bench`: what replication costs, against a plain directory on the same disk, in one run. The nodes are the
 * executable, as it is shipped, made first. Needs root and /dev/fuse. `-- --only writes,lag` narrows it, `--quick` shortens it, `--json FILE` keeps every sample.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { type Figure, table } from './bench/figures.ts';
import { measureFollowRate } from './bench/follow-rate.ts';
import { measureFootprint } from './bench/footprint.ts';
import { measureLag } from './bench/lag.ts';
import { FULL, type Plan, QUICK } from './bench/plan.ts';
import { measureProxy } from './bench/proxy.ts';
import { measureReads } from './bench/reads.ts';
import { measureShortLived } from './bench/short-lived.ts';
import { measureSnapshots } from './bench/snapshots.ts';
import { measureStartUp } from './bench/start-up.ts';
import { measureSync } from './bench/sync.ts';
import { measureWrites } from './bench/writes.ts';
import { makeShipped } from './build/shipped.ts';

const MEASUREMENTS: Record<string, (plan: Plan) => Promise<Figure[]>> = {
  writes: measureWrites,
  short: measureShortLived,
  reads: measureReads,
  lag: measureLag,
  rate: measureFollowRate,
  sync: measureSync,
  snapshots: measureSnapshots,
  proxy: measureProxy,
  start: measureStartUp,
  footprint: measureFootprint,
};

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: Object.keys(MEASUREMENTS).join(',') },
    quick: { type: 'boolean', default: false },
    json: { type: 'string' },
  },
});
const names = values.only.split(',');
const unknown = names.filter((name) => !Object.hasOwn(MEASUREMENTS, name));
if (unknown.length > 0) {
  console.error(
    `no measurement is called ${unknown.join(', ')}; there are: ${Object.keys(MEASUREMENTS).join(', ')}`,
  );
  process.exit(2);
}

const machine = {
  cpus: os.cpus().map(({ model }) => model.trim()),
  kernel: `${os.type()} ${os.release()}`,
  memoryGib: Math.round(os.totalmem() / 2 ** 30),
  node: process.version,
};
console.log(
  `${machine.cpus.length} x ${machine.cpus[0]}, ${machine.memoryGib} GiB, ${machine.kernel}, Node ${machine.node}`,
);

process.env.LITEFS_LITE_EXECUTABLE ??= makeShipped(path.dirname(import.meta.dirname));
const plan = values.quick ? QUICK : FULL;
const results: Record<string, Figure[]> = {};
for (const name of names) {
  results[name] = await MEASUREMENTS[name](plan);
  console.log(`\n${name}\n\n${table(results[name])}`);
  if (values.json) {
    fs.writeFileSync(values.json, JSON.stringify({ machine, plan, results }, null, 2));
  }
}
const judged = Object.values(results)
  .flat()
  .filter(({ met }) => met !== undefined);
console.log(`\n${judged.filter(({ met }) => met).length} of ${judged.length} aims met`);
