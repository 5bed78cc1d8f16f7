import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import Sqlite from 'better-sqlite3';
import {
  Cluster,
  inSync,
  type Passthrough,
  startCluster,
  type TestNode,
  until,
} from '../harness/cluster.ts';
import { databaseImage } from '../harness/image.ts';
import { baseFor } from '../harness/memory.ts';

function fill(file: string, rows: number, bytes = 500): void {
  const db = new Sqlite(file);
  try {
    db.pragma('journal_mode = wal');
    db.exec('CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, data BLOB)');
    const insert = db.prepare('INSERT INTO t(data) VALUES(?)');
    for (let i = 0; i < rows; i++) insert.run(Buffer.alloc(bytes, i));
  } finally {
    db.close();
  }
}

async function assertSame(primary: TestNode, replica: TestNode, name: string): Promise<void> {
  await inSync(primary, replica, name);
  const ours = databaseImage(primary.backing(name));
  assert.ok(ours.equals(databaseImage(replica.backing(name))), `the images of ${name} differ`);
}

/** Everything of the log but the newest file goes, as retention would have it. */
const NO_LOG = { data: { retention: '1ms', 'retention-monitor-interval': '20ms' } };

for (const passthrough of ['auto', 'off'] as Passthrough[]) {
  describe(`a replica that was away, passthrough ${passthrough}`, () => {
    test('catches up by transactions when the log still has them', async () => {
      const { cluster, primary, replica } = await startCluster(passthrough);
      try {
        fill(primary.file('app.db'), 50);
        await assertSame(primary, replica, 'app.db');
        await replica.stop();
        fill(primary.file('app.db'), 50);
        await replica.start();
        await assertSame(primary, replica, 'app.db');
        assert.ok(!replica.logText().includes('resynchronised'), replica.logText());
      } finally {
        await cluster.close();
      }
    });

    test('gets the pages that differ when the log is gone', async () => {
      const { cluster, primary, replica } = await startCluster(passthrough, { config: NO_LOG });
      try {
        fill(primary.file('app.db'), 2000);
        await assertSame(primary, replica, 'app.db');
        await replica.stop();
        fill(primary.file('app.db'), 50);
        // The log's last file stays: another one makes room for its removal.
        await until('the log is trimmed', async () => {
          fill(primary.file('app.db'), 1);
          const [db] = (await primary.info()).databases;
          return Number.parseInt(db.log.firstTxid, 16) > 2000 + 40;
        });
        const from = primary.log.length;
        await replica.start();
        await assertSame(primary, replica, 'app.db');
        const line = await primary.logged(/the pages that differ/, from);
        const whole = fs.statSync(primary.backing('app.db')).size;
        assert.ok((line.bytes as number) < whole / 2, `${line.bytes} of ${whole} bytes`);
      } finally {
        await cluster.close();
      }
    });

    test('gets everything when it has nothing', async () => {
      const cluster = new Cluster(baseFor(passthrough));
      try {
        const primary = await cluster.add('primary', {
          candidate: true,
          passthrough,
          config: NO_LOG,
        });
        await primary.start();
        fill(primary.file('app.db'), 500);
        fs.mkdirSync(primary.file('sub'));
        fill(primary.file('sub/other.db'), 5);
        await until('the log is trimmed', async () => {
          fill(primary.file('app.db'), 1);
          const db = (await primary.info()).databases.find(({ name }) => name === 'app.db');
          return Number.parseInt(db?.log.firstTxid ?? '0', 16) > 400;
        });
        const replica = await cluster.follow(primary);
        await assertSame(primary, replica, 'app.db');
        await assertSame(primary, replica, 'sub/other.db');
      } finally {
        await cluster.close();
      }
    });

    test('keeps what the primary never had before it takes over the primary’s state', async () => {
      const { cluster, primary, replica } = await startCluster(passthrough);
      try {
        fill(primary.file('app.db'), 10);
        await assertSame(primary, replica, 'app.db');
        await primary.stop();
        const saved = path.join(cluster.dir, 'saved');
        fs.cpSync(primary.data, saved, { recursive: true });
        await primary.start();
        fill(primary.file('app.db'), 10);
        await assertSame(primary, replica, 'app.db');
        // The machine's image of before is restored.
        await primary.stop();
        fs.rmSync(primary.data, { recursive: true });
        fs.cpSync(saved, primary.data, { recursive: true, preserveTimestamps: true });
        const from = replica.log.length;
        await primary.start();
        await replica.logged(/what its primary does not: kept in/, from);
        await assertSame(primary, replica, 'app.db');
        const kept = fs.readdirSync(path.join(replica.data, 'divergence', 'app.db'));
        assert.equal(kept.length, 1);
        const dir = path.join(replica.data, 'divergence', 'app.db', kept[0]);
        const about = JSON.parse(fs.readFileSync(path.join(dir, 'about.json'), 'utf8'));
        assert.equal(about.database, 'app.db');
        assert.ok(fs.readdirSync(dir).some((name) => name.endsWith('.ltx')));
        assert.ok(fs.readdirSync(path.join(dir, 'log')).length > 0);
        fill(primary.file('app.db'), 1);
        await assertSame(primary, replica, 'app.db');
      } finally {
        await cluster.close();
      }
    });

    test('a replica of a replica follows too', async () => {
      const { cluster, primary, replica } = await startCluster(passthrough);
      try {
        fill(primary.file('app.db'), 10);
        const second = await cluster.add('second', {
          candidate: false,
          passthrough,
          primaryPort: replica.replicationPort,
        });
        await second.start();
        await assertSame(primary, second, 'app.db');
        fill(primary.file('app.db'), 10);
        await assertSame(primary, second, 'app.db');
        const name = (await primary.info()).hostname;
        assert.equal(fs.readFileSync(second.file('.primary'), 'utf8'), `${name}\n`);
      } finally {
        await cluster.close();
      }
    });
  });
}
