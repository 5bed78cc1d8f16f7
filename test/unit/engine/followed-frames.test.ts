/**
 * What is known of the frames of a generation goes with it. Up to c7c41e8 it stayed from the sync of the next header to the next
 * commit: a page that was read then came from a frame that was being written over.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFollowed } from '../../../src/engine/capture/wal-entries.ts';
import { atStart, type WalFileHeader } from '../../../src/engine/wal/wal-follow.ts';
import { withTwo } from './two-nodes.ts';

test('the frames of a generation are forgotten when another one begins', () =>
  withTwo('wal', ({ primary: { db }, commit }) => {
    commit('INSERT INTO t(data) VALUES(zeroblob(9000));');
    const { generation } = db.wal.followed;
    assert(generation && db.wal.frames.size > 0);
    setFollowed(db, db.wal.followed);
    assert(db.wal.frames.size > 0, 'it is the same one');
    const next: WalFileHeader = { ...generation, salt1: generation.salt1 + 1, bytes: 'the next' };
    setFollowed(db, atStart(next));
    assert.equal(db.wal.frames.size, 0);
  }));
