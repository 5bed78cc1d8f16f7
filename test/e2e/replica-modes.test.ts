/**
 * Readers on a replica, without a busy timeout, while its primary writes in each journal mode: none is told to wait, none sees
 * half of a transaction, also not of one that changes the page size, and replication goes on beside one that holds its
 * transaction for seconds.
 *
 * On 25311ce all but the first two fail: "database is locked" within a second, as a transaction in a rollback-journal mode is
 * written under an EXCLUSIVE lock.
 */
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
import { assertReplicated } from '../harness/replicated.ts';
import { readByShell } from '../harness/shell-reader.ts';
import { bankWriter, createBank, runClient } from '../harness/sqlite-client.ts';

const HOLD_MS = 2500;
const WRITE_MS = 6000;
const LOOK_EVERY = 20;
const NOTE_BYTES = 9000;

const CASES: readonly { mode: string; passthrough: Passthrough; exclusive?: boolean }[] = [
  { mode: 'wal', passthrough: 'auto' },
  { mode: 'wal', passthrough: 'off' },
  { mode: 'delete', passthrough: 'auto' },
  { mode: 'delete', passthrough: 'off' },
  { mode: 'truncate', passthrough: 'auto' },
  { mode: 'persist', passthrough: 'auto' },
  { mode: 'memory', passthrough: 'auto' },
  { mode: 'off', passthrough: 'auto' },
  { mode: 'delete', passthrough: 'auto', exclusive: true },
];

for (const passthrough of ['auto', 'off'] as const) {
  describe(`readers on a replica without a busy timeout, passthrough ${passthrough}`, () => {
    let cluster: Cluster;
    let primary: TestNode;
    let replica: TestNode;
    before(async () => {
      ({ cluster, primary, replica } = await startCluster(passthrough));
    });
    after(() => cluster?.close());

    for (const { mode, exclusive } of CASES.filter((one) => one.passthrough === passthrough)) {
      const title = exclusive ? `${mode}, locking_mode exclusive` : mode;
      test(`in journal mode ${title}`, { timeout: 120_000 }, async () => {
        const name = `${title.replaceAll(/\W+/g, '-')}.db`;
        const file = replica.file(name);
        createBank(primary.file(name), mode);
        await inSync(primary, replica, name);
        const ours = [
          runClient('read', file),
          runClient('keep', file),
          runClient('hold', file, `${HOLD_MS}`),
        ];
        const shells = [readByShell(file, true), readByShell(file, false)];
        const write = async (ms: number) => {
          const db = new Sqlite(primary.file(name), { timeout: 20_000 });
          try {
            db.pragma(`journal_mode = ${mode}`);
            if (exclusive) db.pragma('locking_mode = exclusive');
            const transact = bankWriter(db, NOTE_BYTES);
            const untilMs = performance.now() + ms;
            for (let i = 0; performance.now() < untilMs; i++) {
              transact();
              if (i % LOOK_EVERY === 0) await inSync(primary, replica, name);
            }
          } finally {
            db.close();
          }
        };
        const reads: number[] = [];
        try {
          await write(WRITE_MS / 2);
          const db = new Sqlite(primary.file(name));
          db.pragma('journal_mode = delete');
          db.pragma('page_size = 1024');
          db.exec('VACUUM');
          db.close();
          await write(WRITE_MS / 2);
          await inSync(primary, replica, name);
        } finally {
          for (const client of ours) client.end();
          reads.push(...(await Promise.all(ours.map(({ output }) => output))).map(Number));
          reads.push(...(await Promise.all(shells.map((shell) => shell.end()))));
        }
        for (const count of reads) assert.ok(count > 0, `they read ${reads} times`);
        await assertReplicated({ primary, replica }, name);
      });
    }
  });
}
