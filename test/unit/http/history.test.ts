/** The last minutes of a node, as a chart gets them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { History, SAMPLE_MS } from '../../../src/http/history.ts';

test('each interval has its commits and how far behind each node was', () => {
  const history = new History(0);
  history.committed(2);
  history.sample(2000, new Map([['a', 5]]));
  history.sample(
    4000,
    new Map<string, number | null>([
      ['a', 0],
      ['b', null],
    ]),
  );
  assert.deepEqual(history.report(), {
    everyMs: SAMPLE_MS,
    until: '1970-01-01T00:00:04.000Z',
    commits: [2, 0],
    behindMs: { a: [5, 0], b: [null, null] },
  });
});

test('no more than ten minutes are kept, and who was not there in them is forgotten', () => {
  const history = new History(0);
  history.sample(1, new Map([['old', 1]]));
  for (let i = 0; i < 300; i++) {
    history.committed(1);
    history.sample(i, new Map([['a', i]]));
  }
  const { commits, behindMs } = history.report();
  assert.equal(commits.length, 300);
  assert.deepEqual(Object.keys(behindMs), ['a']);
  assert.equal(behindMs.a.at(-1), 299);
});
