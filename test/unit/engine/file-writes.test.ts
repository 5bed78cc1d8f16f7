import assert from 'node:assert/strict';
import { it } from 'node:test';
import { FileWrites } from '../../../src/engine/file-writes.ts';

it('takes what is written under a journal for what the journal tells of', () => {
  const writes = new FileWrites();
  writes.journalBegun();
  writes.written();
  writes.written();
  assert.deepEqual([writes.any, writes.areSomeOutside], [true, false]);
  writes.journalEnded();
  assert.deepEqual([writes.any, writes.areSomeOutside], [false, false]);
});

it('knows what was written before a journal began, also after another one', () => {
  const writes = new FileWrites();
  for (let transaction = 0; transaction < 2; transaction++) {
    writes.written();
    writes.journalBegun();
    writes.written();
    assert.equal(writes.areSomeOutside, true);
    writes.journalEnded();
  }
  writes.journalBegun();
  writes.written();
  assert.equal(writes.areSomeOutside, false);
});

it('forgets what was captured by other means, and not that a journal is open', () => {
  const writes = new FileWrites();
  writes.written();
  writes.journalBegun();
  writes.settled();
  writes.written();
  assert.deepEqual([writes.any, writes.areSomeOutside], [true, false]);
});
