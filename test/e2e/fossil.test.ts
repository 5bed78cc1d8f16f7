/** A real application that knows nothing of us: Fossil serves a repository on the primary, and another on the replica. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { sqlite3 } from '../harness/app.ts';
import { inSync } from '../harness/cluster.ts';
import { createRepository, FossilCheckout, FossilServer } from '../harness/fossil.ts';
import { assertReplicated, describePair } from '../harness/replicated.ts';

describePair('fossil on two nodes', (pair) => {
  for (const mode of ['delete', 'wal']) {
    test(`commits and wiki pages of the primary are read on the replica, journal mode ${mode}`, async (t) => {
      const { primary, replica } = pair;
      const name = `${mode}.fossil`;
      const dir = fs.mkdtempSync(path.join(primary.dir, `fossil-${mode}-`));
      createRepository(dir, primary.file(name), mode === 'wal');
      assert.equal(sqlite3(primary.file(name), 'PRAGMA journal_mode'), mode);
      await inSync(primary, replica, name);

      const ours = await FossilServer.start(dir, primary.file(name));
      t.after(() => ours.stop());
      const theirs = await FossilServer.start(dir, replica.file(name));
      t.after(() => theirs.stop());

      const checkout = new FossilCheckout(dir, ours);
      checkout.commit('song.txt', 'first verse\n', 'A song begins');
      assert.ok(await ours.login(), 'the primary lets its user in');
      const created = await ours.saveWiki('Meadow', 'Cows **graze** here', true);
      assert.equal(created.status, 200, created.text);
      await inSync(primary, replica, name);
      assert.match(await theirs.page('timeline?y=ci'), /A song begins/);
      assert.match(await theirs.page('doc/trunk/song.txt'), /first verse/);
      assert.match(await theirs.page('wiki?name=Meadow'), /Cows <strong>graze<\/strong> here/);

      checkout.commit('song.txt', 'first verse\nsecond verse\n', 'The song goes on');
      const edited = await ours.saveWiki('Meadow', 'Sheep came', false);
      assert.equal(edited.status, 200, edited.text);
      await inSync(primary, replica, name);
      assert.match(await theirs.page('timeline?y=ci'), /The song goes on/);
      assert.match(await theirs.page('doc/trunk/song.txt'), /second verse/);
      const meadow = await theirs.page('wiki?name=Meadow');
      assert.match(meadow, /Sheep came/);
      assert.doesNotMatch(meadow, /Cows/);

      await theirs.login();
      const refused = await theirs.saveWiki('Meadow', 'Wolves on the replica', false);
      assert.notEqual(refused.status, 200, refused.text);
      assert.match(await theirs.page('wiki?name=Meadow'), /Sheep came/);
      await assertReplicated(pair, name);
    });
  }
});
