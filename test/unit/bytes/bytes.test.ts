/**
 * Hostile bytes, in short: some hundred inputs of each grammar (harness/bytes). For longer, for other seeds, and in processes that
 * may hang or die:
 *
 *     npm run torture -- bytes
 *
 * On 0cf578f the first minutes of that ended the engine in six ways: a freelist in a journal that leads to itself, a wal-index with
 * a page size that is none, sizes of 2^32 pages in a -wal, an entry and a resync, and page 0 in a resync.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { GRAMMARS } from '../../harness/bytes/grammars.ts';
import { type Fault, runRounds } from '../../harness/bytes/rounds.ts';
import { SeededRandom } from '../../harness/random.ts';

const INPUTS = 500;
/** Of those that take a millisecond or more. */
const SLOW_INPUTS = 100;
const SLOW = ['config', 'archive'];
const STATEFUL_INPUTS = 8;

describe('whatever a peer, a user or a client writes is understood or refused, in bounded time and memory', () => {
  const { seed } = new SeededRandom();
  for (const grammar of GRAMMARS) {
    it(`${grammar.name}: ${grammar.reads}`, async (t) => {
      t.diagnostic(`LITEFS_LITE_SEED=${seed}`);
      const most = SLOW.includes(grammar.name) ? SLOW_INPUTS : INPUTS;
      const inputs = grammar.isStateful ? STATEFUL_INPUTS : most;
      const faults: Fault[] = [];
      const counts = await runRounds({
        grammar,
        seed,
        inputs,
        msMax: Infinity,
        fault: (fault) => faults.push(fault),
      });
      const again = faults.map(
        (fault) =>
          `npm run torture -- bytes --grammar ${grammar.name} --seed ${fault.seed} --inputs 1`,
      );
      assert.deepEqual([...faults, ...again], []);
      assert.equal(counts.inputs, inputs);
      // Inputs that all are refused look at nothing.
      assert(
        grammar.isStateful || counts.values > inputs / 100,
        `${counts.values} were understood`,
      );
    });
  }
});
