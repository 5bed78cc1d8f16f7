/**
 * Snapshots and verify read all pages while an application commits. What they wait for is the end of its transaction,
 * which must not wait for them.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { test } from 'node:test';
import { sqlite3 } from '../harness/app.ts';
import { startCluster } from '../harness/cluster.ts';

const WRITER = path.resolve(import.meta.dirname, '../harness/page-writer.ts');
const ROUNDS = 8;
/** A commit takes some ms; one that waits for a cut to give up, a minute. */
const COMMIT_MS_MAX = 5000;

for (const mode of ['delete', 'wal']) {
  test(`snapshots and verify hold up no commit in mode ${mode}, and are right`, async () => {
    const { cluster, primary } = await startCluster('auto', {
      replicas: 0,
      config: {
        snapshots: { dir: '/nowhere', schedule: '0 3 1 1 *', increments: 'off', verify: 'quick' },
      },
    });
    try {
      await primary.stop();
      const dir = path.join(cluster.dir, 'backups');
      fs.mkdirSync(dir);
      Object.assign(primary.settings.config?.snapshots as object, { dir });
      await primary.start();
      const file = primary.file('app.db');
      sqlite3(
        file,
        `PRAGMA journal_mode=${mode}; CREATE TABLE t(id INTEGER PRIMARY KEY, data);
        INSERT INTO t SELECT value, randomblob(3000) FROM generate_series(1, 2000)`,
      );
      const writer = spawn(process.execPath, [WRITER, file, mode], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      try {
        const lines = readline.createInterface({ input: writer.stdout })[Symbol.asyncIterator]();
        assert.equal((await lines.next()).value, 'goes');
        const at = (where: string) => `http://127.0.0.1:${primary.httpPort}${where}?name=app.db`;
        for (let round = 0; round < ROUNDS; round++) {
          const cut = await fetch(at('/snapshot'), { method: 'POST' });
          const run = (await cut.json()) as { ok: boolean };
          assert(run.ok, JSON.stringify(run));
          const verified = (await (await fetch(at('/verify'))).json()) as { ok: boolean };
          assert(verified.ok, JSON.stringify(verified));
        }
        writer.stdin.end();
        const { value } = await lines.next();
        const { commits, longestMs } = JSON.parse(value ?? '{}');
        assert(commits > ROUNDS, `${commits} commits`);
        assert(longestMs < COMMIT_MS_MAX, `a commit took ${Math.round(longestMs)} ms`);
      } finally {
        writer.kill('SIGKILL');
      }
    } finally {
      await cluster.close();
    }
  });
}
