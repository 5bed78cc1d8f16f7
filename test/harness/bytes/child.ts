/** A process of its own for inputs: `child.ts GRAMMAR SEED INPUTS MS SEED_FILE`. What it finds, it says over its channel. */
import { grammarOf } from './grammars.ts';
import { describe, type Fault, MakerBug, notedSeed, runRounds } from './rounds.ts';

const [name, seed, inputs, msMax, seedFile] = process.argv.slice(2);
const grammar = grammarOf(name);
const say = (message: object) => process.send?.(message);

/** What no input's own promise has caught: of the input that is being taken, or of one shortly before. */
const uncaught = (error: unknown) => {
  if (error instanceof MakerBug) {
    process.send?.({ bug: error.message }, () => process.exit(1));
    return;
  }
  const fault: Fault = {
    grammar: name,
    seed: notedSeed(seedFile) ?? Number(seed),
    kind: 'crash',
    text: `nobody caught: ${describe(error)}`,
  };
  process.send?.({ fault }, () => process.exit(1));
};
// Nobody looks after it any more.
process.on('disconnect', () => process.exit(1));
process.on('uncaughtException', uncaught);
process.on('unhandledRejection', uncaught);

const counts = await runRounds({
  grammar,
  seed: Number(seed),
  inputs: Number(inputs),
  msMax: Number(msMax),
  seedFile,
  fault: (fault) => say({ fault }),
  progress: (counts) => say({ counts }),
});
process.send?.({ counts, isDone: true }, () => process.exit(0));
