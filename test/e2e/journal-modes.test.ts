import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import Sqlite from 'better-sqlite3';
import {
  type Cluster,
  inSync,
  type Passthrough,
  startCluster,
  type TestNode,
} from '../harness/cluster.ts';
import { databaseImage } from '../harness/image.ts';

const MODES = ['wal', 'delete', 'truncate', 'persist', 'memory', 'off'] as const;
const PAGE_SIZES = [512, 4096, 65536];

for (const passthrough of ['auto', 'off'] as Passthrough[]) {
  describe(`every journal mode and page size, passthrough ${passthrough}`, () => {
    let cluster: Cluster;
    let primary: TestNode;
    let replica: TestNode;
    before(async () => {
      ({ cluster, primary, replica } = await startCluster(passthrough));
    });
    after(() => cluster?.close());

    for (const mode of MODES) {
      for (const pageSize of PAGE_SIZES) {
        test(`${mode}, pages of ${pageSize}: the replica is the primary, byte for byte`, async () => {
          const name = `${mode}-${pageSize}.db`;
          // better-sqlite3 refuses journal_mode=off otherwise, without a word.
          const db = new Sqlite(primary.file(name)).unsafeMode();
          try {
            const check = async () => {
              await inSync(primary, replica, name);
              const [ours, theirs] = [primary, replica].map((node) =>
                databaseImage(node.backing(name)),
              );
              assert.equal(ours.length, theirs.length, `sizes of ${name}`);
              assert.ok(ours.equals(theirs), `the images of ${name} differ`);
            };
            db.pragma(`page_size = ${pageSize}`);
            db.pragma('auto_vacuum = FULL');
            assert.equal(db.pragma(`journal_mode = ${mode}`, { simple: true }), mode);
            db.exec(
              'CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, data BLOB); CREATE INDEX n ON t(name)',
            );
            const insert = db.prepare('INSERT INTO t(name, data) VALUES(?, ?)');
            for (let i = 0; i < 20; i++) insert.run(`row ${i}`, Buffer.alloc(i * 100, i));
            await check();
            insert.run('a big row', Buffer.alloc(300_000, 7));
            await check();
            if (mode !== 'off') {
              db.exec('BEGIN');
              for (let i = 0; i < 50; i++) insert.run(`gone ${i}`, Buffer.alloc(2000, i));
              db.exec('ROLLBACK');
              await check();
            }
            db.exec("DELETE FROM t WHERE name = 'a big row'; UPDATE t SET name = name || '!'");
            await check();
            db.exec('VACUUM');
            await check();
            db.exec('DROP TABLE t');
            await check();
            assert.equal(db.pragma('integrity_check', { simple: true }), 'ok');
          } finally {
            db.close();
          }
          await inSync(primary, replica, name);
          const copy = new Sqlite(replica.file(name), { readonly: true });
          try {
            assert.equal(copy.pragma('integrity_check', { simple: true }), 'ok');
          } finally {
            copy.close();
          }
        });
      }
    }
  });
}
