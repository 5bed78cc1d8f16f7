import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { KeptBody, ReplayMemory, replayWish } from '../../../src/proxy/replay.ts';

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
    const kept = new KeptBody(10, new ReplayMemory(2 ** 20));
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

  it('comes back byte for byte, however it was cut', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40_000 }), { maxLength: 12 }), (chunks) => {
        const memory = new ReplayMemory(2 ** 20);
        const kept = new KeptBody(2 ** 20, memory);
        for (const chunk of chunks) kept.add(Buffer.from(chunk));
        assert.deepEqual(Buffer.concat(kept.chunks), Buffer.concat(chunks));
        kept.release();
        assert.equal(memory.bytes, 0);
      }),
      { numRuns: 30 },
    );
  });

  it('of single bytes takes not much more than they are', () => {
    const memory = new ReplayMemory(2 ** 30);
    const kept = new KeptBody(2 ** 20, memory);
    const slab = Buffer.alloc(2 ** 16);
    for (let i = 0; i < 100_000; i++) kept.add(slab.subarray(i % 1000, (i % 1000) + 1));
    assert.equal(Buffer.concat(kept.chunks).length, 100_000);
    assert(memory.bytes < 2 ** 17, `${memory.bytes}`);
    assert(kept.chunks.length < 10);
  });

  it('leaves what others have, and its own goes when there is no room', () => {
    const memory = new ReplayMemory(100_000);
    const bodies = Array.from({ length: 4 }, () => new KeptBody(50_000, memory));
    for (const body of bodies) body.add(Buffer.alloc(40_000));
    assert.deepEqual(
      bodies.map(({ complete, isCrowded }) => [complete, isCrowded]),
      [
        [true, false],
        [true, false],
        [false, true],
        [false, true],
      ],
    );
    assert.equal(memory.bytes, 80_000);
    for (const body of bodies) body.release();
    for (const body of bodies) body.release();
    assert.equal(memory.bytes, 0);
    const next = new KeptBody(50_000, memory);
    next.add(Buffer.alloc(40_000));
    assert(next.complete);
  });
});
