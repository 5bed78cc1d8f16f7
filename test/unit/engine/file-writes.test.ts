import assert from 'node:assert/strict';
import { it } from 'node:test';
import { FileWrites } from '../../../src/engine/wal/file-writes.ts';

it('takes what is written under a journal for what the journal tells of', () => {
  const writes = new FileWrites();
  writes.journalBegun();
  writes.written();
  writes.written();
  assert(writes.any && writes.areExplainedBy('journal'));
  assert(!writes.areExplainedBy(undefined));
  assert.equal(writes.journalEnded('journal'), true);
  assert.equal(writes.any, false);
});

it('knows what was written before a journal began, also after another one', () => {
  const writes = new FileWrites();
  for (let transaction = 0; transaction < 2; transaction++) {
    writes.written();
    writes.journalBegun();
    writes.written();
    assert(!writes.areExplainedBy('journal'));
    assert.equal(writes.journalEnded('journal'), false);
  }
  writes.journalBegun();
  writes.written();
  assert.equal(writes.journalEnded('journal'), true);
});

it('knows what was written before a -wal was made from what is checkpointed', () => {
  const writes = new FileWrites();
  writes.walMade();
  writes.written();
  assert(writes.areExplainedBy('wal'));
  writes.settled();
  writes.walMade();
  assert(writes.areExplainedBy('wal'));
  writes.written();
  writes.walMade();
  writes.written();
  assert(!writes.areExplainedBy('wal'));
  writes.settled();
  writes.written();
  assert(writes.areExplainedBy('wal'));
});

it('forgets what was captured by other means, and not that a journal is open', () => {
  const writes = new FileWrites();
  writes.written();
  writes.journalBegun();
  writes.explained();
  assert.equal(writes.any, false);
  writes.written();
  assert(writes.any && writes.areExplainedBy('journal'));
});

it('lets nothing explain what was lost, but a comparison', () => {
  const writes = new FileWrites();
  writes.eventsLost();
  writes.explained();
  assert(writes.any && !writes.areExplainedBy('wal') && !writes.areExplainedBy('journal'));
  writes.settled();
  assert.equal(writes.any, false);
  writes.eventsLost();
  writes.journalBegun();
  writes.written();
  assert.equal(writes.journalEnded('journal'), false);
});

it('takes the cut that follows a commit for none, and what comes right before or behind it for one', () => {
  const writes = new FileWrites();
  const cut = (mark: number) => {
    writes.cutBegun(mark, 0);
    writes.written();
    writes.cutEnded(mark);
  };
  writes.journalBegun();
  writes.written();
  assert.equal(writes.journalEnded('journal'), true);
  cut(1);
  assert.equal(writes.any, false);
  writes.written();
  assert(writes.any);
  cut(2);
  writes.journalBegun();
  assert(writes.any && !writes.areExplainedBy('journal'));
  writes.settled();

  writes.cutBegun(3, 0);
  writes.written();
  cut(4);
  writes.cutEnded(3);
  assert(writes.any, 'a cut that has failed takes nothing back');
  writes.settled();
  writes.cutBegun(5, 0);
  writes.eventsLost();
  writes.cutEnded(5);
  assert(writes.any, 'nor does one of which events are lost');
});

it('knows a cut that is under way, unless it takes too long or something was written before', () => {
  const writes = new FileWrites();
  assert(!writes.isBeingCut(0));
  writes.cutBegun(1, 100);
  writes.written();
  assert(writes.isBeingCut(200) && !writes.isBeingCut(2000));
  writes.cutEnded(1);
  assert(!writes.isBeingCut(200) && !writes.any);
  writes.written();
  writes.cutBegun(2, 100);
  assert(!writes.isBeingCut(200));
});

it('knows by its look of what was written without an event, once all others are settled', () => {
  const writes = new FileWrites();
  const [before, now] = ['1', '2'].map((mtimeNs) => ({ size: 4096, mtimeNs, ino: '7' }));
  assert(writes.isUnseen && !writes.isOtherwise(now), 'what was never seen tells nothing');
  writes.seen(before);
  assert(!writes.isUnseen && !writes.isOtherwise(before));
  assert(writes.isOtherwise(now) && writes.isOtherwise(null));
  writes.written();
  assert(!writes.isUnseen && !writes.isOtherwise(now), 'an event tells of it');
  writes.settled();
  assert(writes.isUnseen && !writes.isOtherwise(now));
  writes.seen(now);
  assert(writes.isOtherwise(before));
  writes.eventsLost();
  assert(!writes.isOtherwise(before) && !writes.isUnseen);
});
