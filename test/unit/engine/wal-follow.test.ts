/** Decisions over what is seen of a -wal: each "cannot tell" must come out as unknown, never as nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  atStart,
  isNextGeneration,
  NOT_FOLLOWED,
  nextStep,
  settledAt,
  type WalFileHeader,
  type WalFollowed,
  type WalSight,
} from '../../../src/engine/wal/wal-follow.ts';
import type { WalIndexView } from '../../../src/engine/wal/wal-index-file.ts';

function generation(salt1: number, sequence = 0): WalFileHeader {
  return {
    bigEndian: false,
    pageSize: 4096,
    checkpointSequence: sequence,
    salt1,
    salt2: 7,
    checksum1: salt1 + sequence,
    checksum2: 1,
    bytes: `${salt1}/${sequence}`,
  };
}

function index(salt1: number, mxFrame: number, checksum = mxFrame): WalIndexView {
  return {
    salt1,
    salt2: 7,
    mxFrame,
    pageCount: 10,
    pageSize: 4096,
    frameChecksum1: checksum,
    frameChecksum2: checksum,
    backfilled: 0,
  };
}

function sight(parts: Partial<WalSight>): WalSight {
  return {
    header: undefined,
    frameHeader: '',
    index: index(1, 0),
    isFirstGeneration: false,
    isEndHeld: false,
    ...parts,
  };
}

function followed(header: WalFileHeader, frame: number): WalFollowed {
  return {
    ...atStart(header),
    frame,
    frameHeader: `frame ${frame}`,
    checksum1: frame,
    checksum2: frame,
  };
}

const FIRST = generation(1);
const SECOND = generation(2, 1);

test('frames up to mxFrame are captured, and nothing more', () => {
  const from = followed(FIRST, 3);
  const step = nextStep(from, sight({ header: FIRST, frameHeader: 'frame 3', index: index(1, 5) }));
  assert.deepEqual(step, { kind: 'frames', from, generation: FIRST });
  const same = sight({ header: FIRST, frameHeader: 'frame 3', index: index(1, 3) });
  assert.equal(nextStep(from, same).kind, 'nothing');
});

test('the end that was captured must be the end that is there: frame, checksum and number', () => {
  const from = followed(FIRST, 3);
  for (const [frameHeader, seen] of [
    ['frame 3', index(1, 3, 99)],
    ['another', index(1, 3)],
    ['another', index(1, 9)],
    ['frame 3', index(1, 2)],
    ['frame 3', index(2, 9)],
  ] as const) {
    const step = nextStep(from, sight({ header: FIRST, frameHeader, index: seen }));
    assert.equal(step.kind, 'unknown', `${frameHeader}, ${JSON.stringify(seen)}`);
  }
});

test('a restart that the index announces ends the generation, also when the next header is there and nothing is committed behind it', () => {
  const from = followed(FIRST, 3);
  const announced = sight({ header: FIRST, frameHeader: 'frame 3', index: index(2, 0) });
  assert.equal(nextStep(from, announced).kind, 'ended');
  // The index was made once more from a -wal in which no frame is valid, or started over more than once.
  for (const salt1 of [1, 3]) {
    const forgotten = sight({ header: FIRST, frameHeader: 'frame 3', index: index(salt1, 0) });
    assert.equal(nextStep(from, forgotten).kind, 'unknown');
  }
  const begun = nextStep(from, sight({ header: SECOND, index: index(2, 0) }));
  assert.deepEqual(begun, { kind: 'ended', next: SECOND });
  const later = sight({ header: generation(3, 2), index: index(3, 0) });
  assert.equal(nextStep(from, later).kind, 'unknown', 'one came between');
});

test('a generation that has ended before anything of it was captured has ended', () => {
  const ended = nextStep(atStart(FIRST, 1), sight({ header: FIRST, index: index(2, 0) }));
  assert.deepEqual(ended, { kind: 'ended', next: undefined });
  const open = nextStep(atStart(FIRST, 1), sight({ header: FIRST, index: index(1, 0) }));
  assert.equal(open.kind, 'nothing', 'nothing was committed in it yet');
});

test('a generation of which nobody has looked before the next is about to begin is unknown', () => {
  // Committed, checkpointed, and the index announces the next one; then its header is there, and nothing behind it.
  for (const header of [FIRST, SECOND]) {
    const gone = nextStep(NOT_FOLLOWED, sight({ header, index: index(2, 0) }));
    assert(gone.kind === 'unknown' && gone.isUnsynced);
  }
  const first = nextStep(
    NOT_FOLLOWED,
    sight({ header: FIRST, index: { ...index(0, 0), salt2: 0 } }),
  );
  assert.equal(first.kind, 'nothing', 'its index has told of no commit');
});

test('a generation that began unseen is unknown, and its writers do not sync', () => {
  const step = nextStep(followed(FIRST, 3), sight({ header: SECOND, index: index(2, 4) }));
  assert(step.kind === 'unknown' && step.isUnsynced);
  const after = nextStep(settledAt(FIRST), sight({ header: SECOND, index: index(2, 4) }));
  assert(after.kind === 'unknown' && after.isUnsynced);
  const settled = nextStep(settledAt(FIRST), sight({ header: FIRST, index: index(1, 4) }));
  assert(settled.kind === 'unknown' && !settled.isUnsynced, 'its sync was seen');
});

test('one that is the first of its file, or before which the end was held, begins at frame 0', () => {
  const seen = sight({ header: SECOND, index: index(2, 4) });
  for (const [before, parts] of [
    [NOT_FOLLOWED, { isFirstGeneration: true }],
    [followed(FIRST, 3), { isEndHeld: true }],
    [settledAt(FIRST), { isEndHeld: true }],
  ] as const) {
    const step = nextStep(before, { ...seen, ...parts });
    assert(step.kind === 'frames', JSON.stringify(before));
    assert.equal(step.from.frame, 0);
    assert.equal(step.generation, SECOND);
  }
  assert.equal(nextStep(NOT_FOLLOWED, seen).kind, 'unknown');
});

test('the same salts with another sequence number are another generation', () => {
  const again = generation(1, 5);
  const step = nextStep(followed(FIRST, 3), sight({ header: again, index: index(1, 4) }));
  assert.equal(step.kind, 'unknown');
});

test('at the first sync of a header, one restart is told from several by what they count up', () => {
  const last = followed(FIRST, 3);
  assert(isNextGeneration(last, SECOND, undefined));
  assert(isNextGeneration(last, SECOND, index(2, 0)));
  assert(!isNextGeneration(last, generation(3, 2), index(3, 0)));
  assert(!isNextGeneration(NOT_FOLLOWED, SECOND, index(2, 0)));
  // A writer that never followed the -wal draws salts at random; the index still has the restart.
  assert(isNextGeneration(last, generation(812_345), index(2, 0)));
  assert(!isNextGeneration(last, generation(812_345), undefined));
  assert(isNextGeneration(followed(generation(0xffffffff), 3), generation(0), undefined));
});

test('a header that was rolled back and written once more comes after the same generation', () => {
  assert(isNextGeneration(atStart(SECOND), generation(2, 7), index(2, 0)));
  // Salts that a writer drew for itself, of which the index knows after a commit only.
  assert(isNextGeneration(atStart(generation(55), 0), generation(77), index(0, 0)));
  assert(isNextGeneration(atStart(generation(55), 0), generation(56), index(56, 0)));
  assert(!isNextGeneration(atStart(generation(55), 0), generation(78), index(78, 0)));
  // What is settled may have had commits.
  assert(!isNextGeneration(settledAt(SECOND), generation(2, 7), index(2, 0)));
  assert(!isNextGeneration(followed(SECOND, 4), generation(2, 7), index(2, 0)));
});
