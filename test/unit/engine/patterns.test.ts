/** Which databases a node follows: LiteFS's patterns. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { nameMatcher } from '../../../src/patterns.ts';

test('without patterns everything is followed, with an empty list nothing', () => {
  assert(nameMatcher(undefined)('app.db'));
  assert(!nameMatcher([])('app.db'));
});

test('a star stands for anything, the rest for itself', () => {
  const cases: [pattern: string, fits: string[], not: string[]][] = [
    ['app.db', ['app.db'], ['app-db', 'xapp.db', 'app.db2', 'APP.DB']],
    ['*.db', ['app.db', '.db', 'sub/app.db'], ['app.db.bak', 'db']],
    ['t*-*', ['t-', 'tenant-1', 't-a-b'], ['tenant', 'xt-1']],
    ['*', ['', 'anything'], []],
    ['a(b)[c]{d}^$|?+\\', ['a(b)[c]{d}^$|?+\\'], ['abc', 'a']],
  ];
  for (const [pattern, fits, not] of cases) {
    const matches = nameMatcher([pattern]);
    for (const name of fits) assert(matches(name), `${name} fits ${pattern}`);
    for (const name of not) assert(!matches(name), `${name} does not fit ${pattern}`);
  }
});

test('one of several is enough', () => {
  const matches = nameMatcher(['a.db', 'b*']);
  assert.deepEqual(['a.db', 'bc', 'c'].filter(matches), ['a.db', 'bc']);
});

test('a name fits itself, and itself with any part put as a star', () => {
  const name = fc.string({ unit: fc.constantFrom(...'ab.*+?()[]{}^$|\\/-_') });
  fc.assert(
    fc.property(name, fc.nat(), fc.nat(), (text, from, to) => {
      const [start, end] = [from % (text.length + 1), to % (text.length + 1)].sort((a, b) => a - b);
      assert(nameMatcher([text])(text));
      assert(nameMatcher([`${text.slice(0, start)}*${text.slice(end)}`])(text));
    }),
  );
});
