/** Readers that do what none must, so that a test sees whether it is seen. No part of a campaign. */
import type { Grammar } from '../grammar.ts';

const NEVER = 2 ** 53;

export const broken: Grammar = {
  name: 'broken',
  reads: 'nothing',
  codes: [],
  bounds: { ms: Infinity, perByte: 0, anyway: Infinity },
  isStateful: false,
  begin: () => ({
    make: ({ seed }) => ({
      bytes: 1,
      take() {
        if (seed === 5) while (performance.now() < NEVER);
        if (seed === 10) process.abort();
        if (seed === 15) fill();
        if (seed === 20) {
          Promise.reject(new Error('nobody waits for this'));
          return new Promise((resolve) => setImmediate(() => resolve('value')));
        }
        return 'value';
      },
    }),
    end() {},
  }),
};

function fill(): void {
  const all: number[][] = [];
  for (;;) all.push(new Array(1e6).fill(all.length));
}
