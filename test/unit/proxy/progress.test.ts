import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ProgressWatch, type Transfer } from '../../../src/proxy/progress.ts';

/** A transfer whose parts a test moves. */
const transfer = () => ({
  request: { complete: false, readableFlowing: true as boolean | null },
  response: { closed: false },
  socket: { bytesRead: 0, bytesWritten: 0, writableLength: 0, destroyed: false },
});

describe('a body', () => {
  const watched = () => {
    const stalled: Transfer[] = [];
    const watch = new ProgressWatch<Transfer>(100, (each) => stalled.push(each));
    const one = transfer();
    watch.add(one, 0);
    watch.look(0);
    return { stalled, watch, one };
  };

  it('has stalled when nothing of it comes for so long, and is told of once', () => {
    const { stalled, watch, one } = watched();
    watch.look(99);
    assert.deepEqual(stalled, []);
    watch.look(100);
    watch.look(300);
    assert.deepEqual(stalled, [one]);
  });

  it('has not while it comes, however slowly', () => {
    const { stalled, watch, one } = watched();
    for (let ms = 90; ms < 2000; ms += 90) {
      one.socket.bytesRead++;
      watch.look(ms);
    }
    assert.deepEqual(stalled, []);
  });

  it('has not while the application takes none of it, or the answer is waited for', () => {
    for (const change of [
      (one: ReturnType<typeof transfer>) => (one.request.readableFlowing = false),
      (one: ReturnType<typeof transfer>) => (one.request.readableFlowing = null),
      (one: ReturnType<typeof transfer>) => (one.request.complete = true),
    ]) {
      const { stalled, watch, one } = watched();
      change(one);
      for (const ms of [50, 150, 1000]) watch.look(ms);
      assert.deepEqual(stalled, []);
    }
  });

  it('of an answer has when nothing of it is taken', () => {
    const { stalled, watch, one } = watched();
    one.request.complete = true;
    Object.assign(one.socket, { bytesWritten: 5000, writableLength: 1000 });
    watch.look(50);
    // More is written, and waits: none is taken for that.
    Object.assign(one.socket, { bytesWritten: 6000, writableLength: 2000 });
    watch.look(100);
    assert.deepEqual(stalled, []);
    watch.look(150);
    assert.deepEqual(stalled, [one]);
  });

  it('is forgotten when all is over, and not before its end has come', () => {
    const { stalled, watch, one } = watched();
    one.response.closed = true;
    watch.answered(one);
    watch.look(100);
    assert.deepEqual(stalled, [one], 'the answer has ended, and the body does not');
    const other = transfer();
    other.request.complete = true;
    watch.add(other, 100);
    watch.answered(other);
    other.request.complete = false;
    watch.look(1000);
    assert.deepEqual(stalled, [one]);
  });
});
