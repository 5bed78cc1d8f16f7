/** A replica that follows a replica: what the one in the middle gets by a resync makes no entries there. */
import assert from 'node:assert/strict';
import { it, mock } from 'node:test';
import { MemoryStore, nextRecord } from './memory-store.ts';
import { connect, PRIMARY, REPLICA, settle } from './stand.ts';

it('gets what the one in the middle got by a resync', async () => {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  const clock = { wallMs: () => 0, monotonicMs: () => 0 };
  const [primary, middle, leaf] = [new MemoryStore(), new MemoryStore(), new MemoryStore()];
  const local = { ...PRIMARY, role: 'replica' as const };
  const link = connect({ store: leaf, local: REPLICA }, { store: middle, local }, clock);
  await settle();
  try {
    for (let round = 1; round <= 2; round++) {
      for (let i = 1; i <= 3; i++) primary.commit('a.db', new Map([[i, BigInt(10 * round + i)]]));
      await resync(middle, primary);
      mock.timers.tick(1000);
      await settle();
      assert.deepEqual(leaf.positions(), primary.positions());
    }
  } finally {
    link.cut();
    await settle(4);
    mock.timers.reset();
  }
});

async function resync(replica: MemoryStore, primary: MemoryStore): Promise<void> {
  const cut = await primary.cutPages('a.db', undefined);
  const resync = await replica.beginResync('a.db', { ...cut, diverged: false });
  for (let page = await nextRecord(cut); page; page = await nextRecord(cut))
    await resync.pages([page]);
  await resync.finish(cut.position);
}
