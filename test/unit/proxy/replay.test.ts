import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { KeptBody, replayWish } from '../../../src/proxy/replay.ts';

const REPLICA = { isPrimary: false, primaryHostname: 'box1' };

describe("an application's fly-replay", () => {
  const table: [header: string, possible: boolean][] = [
    ['instance=box1', true],
    ['Instance = box1 ;state=x', true],
    ['elsewhere=true', true],
    ['elsewhere=false', false],
    ['instance=box3', false],
    ['region=ams', false],
    ['app=other', false],
    ['', false],
  ];
  for (const [header, possible] of table) {
    it(`of ${JSON.stringify(header)} ${possible ? 'is for the primary' : 'cannot be done'}`, () => {
      assert.equal(replayWish(header, REPLICA).kind === 'primary', possible);
    });
  }

  it('on the primary cannot be done', () => {
    const wish = replayWish('instance=box1', { ...REPLICA, isPrimary: true });
    assert(wish.kind === 'impossible');
    assert.match(wish.reason, /which this is/);
  });
});

describe('a kept body', () => {
  it('is whole up to its limit, and takes no memory past it', () => {
    const kept = new KeptBody(10);
    kept.add(Buffer.from('01234'));
    kept.add(Buffer.from('56789'));
    assert.equal(Buffer.concat(kept.chunks).toString(), '0123456789');
    assert(kept.complete);
    kept.add(Buffer.from('x'));
    assert(!kept.complete);
    assert.equal(kept.chunks.length, 0);
    kept.add(Buffer.alloc(5));
    assert.equal(kept.chunks.length, 0);
  });
});
