/** What the archives have the log keep. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { LogPins } from '../../../src/snapshots/log-pins.ts';

it('pins a database by its name, whatever objects have by that name', () => {
  const told: unknown[] = [];
  const pins = new LogPins({ pin: (_, txids) => told.push([...txids]) });
  pins.set('constructor', 'cut', 3);
  assert.deepEqual(told, [[['constructor', 3]]]);
});

it('pins what either an archive or a snapshot that is being cut still needs, and tells of changes only', () => {
  const told: unknown[] = [];
  const pins = new LogPins({ pin: (by, txids) => told.push([by, Object.fromEntries(txids)]) });
  pins.set('a.db', 'archive', 7);
  pins.set('a.db', 'archive', 7);
  pins.set('a.db', 'cut', 5);
  pins.set('b.db', 'cut', 3);
  pins.set('a.db', 'cut', undefined);
  pins.set('a.db', 'archive', undefined);
  pins.set('a.db', 'archive', undefined);
  assert.deepEqual(told, [
    ['snapshots', { 'a.db': 7 }],
    ['snapshots', { 'a.db': 5 }],
    ['snapshots', { 'a.db': 5, 'b.db': 3 }],
    ['snapshots', { 'a.db': 7, 'b.db': 3 }],
    ['snapshots', { 'b.db': 3 }],
  ]);
});
