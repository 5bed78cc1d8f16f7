/**
 * A compacted entry that begins before the position of the replica: its log begins with that from now on. Cut off at each change,
 * the next start has what was before, or after it. As long as the old log went without a table that could do without it, a
 * killed process left a sound file that was served at 0/0.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { compact } from '../../../src/ltx/compact.ts';
import { memorySink, memorySource } from '../../../src/ltx/sources.ts';
import { layoutOf } from '../../../src/store/layout.ts';
import { EngineStand } from '../../harness/engine-stand.ts';
import { databaseImage } from '../../harness/image.ts';
import { withFolder } from '../os/folder.ts';
import { Disk } from './cut-off.ts';
import { finish, NodeStand } from './node-stand.ts';

const NAME = 'app.db';
const REPLICA = { role: 'replica', formerRole: 'replica' } as const;
const STATEMENTS = ['CREATE TABLE t(x);', ...[1, 2, 3].map((n) => `INSERT INTO t VALUES(${n});`)];

for (const mode of ['wal', 'delete']) {
  for (const powerWent of [false, true]) {
    test(`journal mode ${mode}, cut off with the ${powerWent ? 'power' : 'process'}`, (t) =>
      withFolder(async (folder) => {
        const primary = new NodeStand(path.join(folder, 'primary'));
        const images = STATEMENTS.map((sql) => {
          primary.sql(`PRAGMA journal_mode=${mode}; ${sql}`);
          primary.capture(mode !== 'wal');
          return databaseImage(primary.file);
        });
        const { entries } = primary;
        primary.close();
        const sink = memorySink();
        finish(compact(entries.slice(1).map(memorySource), sink, { compress: true }));
        for (let at = 1, isCut = true; isCut; at++) {
          const dir = path.join(folder, `${at}`);
          const stand = new EngineStand(dir, REPLICA);
          await stand.start();
          const disk = new Disk(t, dir);
          const apply = (bytes: Uint8Array) =>
            stand.call('apply', { database: NAME, source: { bytes: new Uint8Array(bytes) } });
          for (const entry of entries.slice(0, 3)) await apply(entry);
          stand.database(NAME).log.sync();
          disk.cutAt(at);
          try {
            await apply(sink.bytes());
          } catch (error) {
            if (disk.cut === undefined) throw error;
          }
          isCut = disk.cut !== undefined;
          stand.die();
          disk.restart(powerWent);
          const where = `cut off at ${disk.cut}`;
          const next = new EngineStand(dir, REPLICA);
          next.engine.recover();
          assert.deepEqual(fs.readdirSync(layoutOf(dir).quarantine), [], where);
          const { txid } = next.database(NAME).position;
          assert(txid === 3 || txid === 4, `${where}: at ${txid}`);
          if (!isCut && !powerWent) assert.equal(txid, 4);
          next.die();
          assert(fs.readFileSync(next.file(NAME)).equals(images[txid - 1]), where);
        }
      }));
  }
}
