/**
 * `npm run torture -- WHAT`: the long forms of the checks that the engine's promises rest on, for hours where the suite has
 * seconds. Each prints its counts, and the seed of whatever has failed; `-- WHAT --help` says what it takes.
 */
import { bytes } from './torture/bytes.ts';
import { model } from './torture/model.ts';
import { power } from './torture/power.ts';
import { states } from './torture/states.ts';

/** Resolves with whether all was well. */
const CHECKS: Record<string, (args: string[]) => Promise<boolean>> = {
  bytes,
  model,
  power,
  states,
};

const [name, ...args] = process.argv.slice(2);
const check = Object.hasOwn(CHECKS, name ?? '') ? CHECKS[name] : undefined;
if (!check) {
  console.error(`usage: npm run torture -- ${Object.keys(CHECKS).join('|')} [options]`);
  process.exit(64);
}
process.exitCode = (await check(args)) ? 0 : 1;
