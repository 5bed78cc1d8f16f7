/** A web application that knows nothing of us, on two nodes behind their proxies: Fossil, used by way of the replica. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inSync } from '../harness/cluster.ts';
import { createRepository, FossilCheckout, FossilServer, FossilUser } from '../harness/fossil.ts';
import { ProxiedCluster } from '../harness/proxied.ts';

const REPOSITORY = 'meadow.fossil';

for (const mode of ['delete', 'wal']) {
  test(`log in, edit and push through the proxy of the replica, journal mode ${mode}`, async (t) => {
    const { cluster, primary, replica, close } = await startFossil(mode === 'wal');
    t.after(close);
    const [there, here] = [primary, replica].map(({ port }) => `http://127.0.0.1:${port}`);

    const user = new FossilUser(here);
    assert.ok(
      await user.login(),
      'the login is answered by the primary, and its cookie comes back',
    );
    for (let i = 1; i <= 10; i++) {
      const saved = await user.saveWiki('Meadow', `${i} cows **graze** here`, i === 1);
      assert.equal(saved.status, 200, saved.text);
      const page = await user.page('wiki?name=Meadow');
      assert.match(page, new RegExp(`${i} cows <strong>graze</strong>`), 'its own edit, at once');
    }
    // The same person at the other node.
    const elsewhere = user.at(there);
    assert.match(await elsewhere.page('wiki?name=Meadow'), /10 cows/);
    assert.equal((await elsewhere.saveWiki('Meadow', 'Sheep came', false)).status, 200);
    assert.match(await elsewhere.at(here).page('wiki?name=Meadow'), /Sheep came/);

    // A checkout that knows the replica only: clone, commit and push are POSTs.
    const checkout = new FossilCheckout(cluster.dir, user);
    checkout.commit('song.txt', 'first verse\n', 'A song begins');
    await inSync(primary.node, replica.node, REPOSITORY);
    assert.match(await user.page('timeline?y=ci'), /A song begins/);
    assert.match(await user.page('doc/trunk/song.txt'), /first verse/);
  });
}

async function startFossil(wal: boolean) {
  const proxied = await ProxiedCluster.start({ skipApps: true, proxy: { db: REPOSITORY } });
  const servers: FossilServer[] = [];
  const close = async () => {
    await Promise.all(servers.map((server) => server.stop()));
    await proxied.close();
  };
  try {
    const { cluster, primary, replica } = proxied;
    createRepository(cluster.dir, primary.node.file(REPOSITORY), wal);
    await inSync(primary.node, replica.node, REPOSITORY);
    for (const { node, appPort } of [primary, replica]) {
      servers.push(await FossilServer.start(cluster.dir, node.file(REPOSITORY), appPort));
    }
    return { cluster, primary, replica, close };
  } catch (error) {
    await close();
    throw error;
  }
}
