/** The HTTP API of real nodes: what docs/http-api.md shows, databases out and in again, metrics, and the commands on top. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import Sqlite from 'better-sqlite3';
import { sqlite3 } from '../harness/app.ts';
import { runCli } from '../harness/cli.ts';
import { type Cluster, inSync, startCluster, type TestNode, until } from '../harness/cluster.ts';
import { childrenOf, hasOpen } from '../harness/processes.ts';

const DOCUMENT = fs.readFileSync(
  path.resolve(import.meta.dirname, '../../docs/http-api.md'),
  'utf8',
);

const SECRET = 'hush, this is of all the nodes';

describe('the HTTP API', () => {
  let cluster: Cluster;
  let primary: TestNode;
  let replica: TestNode;
  const at = (node: TestNode, where: string) => `http://127.0.0.1:${node.httpPort}${where}`;
  const config = (node: TestNode) => ['--config', node.configFile];

  before(async () => {
    ({ cluster, primary, replica } = await startCluster('auto', {
      config: { replication: { secret: SECRET } },
    }));
    sqlite3(
      primary.file('app.db'),
      'PRAGMA journal_mode=wal; CREATE TABLE t(x); INSERT INTO t VALUES(1)',
    );
    await inSync(primary, replica, 'app.db');
    await until('both know where the other is', async () => {
      const [ours, theirs] = [await primary.info(), await replica.info()];
      return (
        'app.db' in (ours.replicas[0]?.positions ?? {}) &&
        'app.db' in (theirs.upstream?.positions ?? {})
      );
    });
  });
  after(() => cluster?.close());

  const json = async (node: TestNode, where: string) => {
    const response = await node.api(where);
    assert.match(response.headers.get('content-type') ?? '', /^application\/json/);
    return response.json() as Promise<Record<string, unknown>>;
  };

  it('answers as docs/http-api.md shows', async () => {
    assertShape('/info', await json(primary, '/info'), example('## GET /info'));
    const replicaInfo = await json(replica, '/info');
    assertShape('upstream', replicaInfo.upstream, example('## GET /info', 'json upstream'));
    assertShape('/healthz', await json(primary, '/healthz'), example('## GET /healthz'));
    const history = await json(primary, '/history');
    assertShape('/history', history, example('## GET /history'));
    const verified = await json(replica, '/verify?name=app.db');
    assertShape('/verify', verified, example('## GET /verify'));
    const alone = await json(primary, '/verify?name=app.db');
    assert.deepEqual(Object.keys(alone), Object.keys(verified));
    assert.equal(alone.primary, null);
    const databases = (await json(primary, '/info')).databases;
    assert.deepEqual(Object.keys((databases as object[])[0]), [
      ...Object.keys((example('## GET /info') as { databases: object[] }).databases[0]),
    ]);
    const missing = await json(primary, '/verify?name=nope.db');
    assert.equal(missing.code, 'DATABASE_NOT_FOUND');
    for (const name of Object.keys(missing)) {
      assert(name in (example('## Errors') as object), `${name} is in the document`);
    }
  });

  it('sends a database as it is at one moment', async () => {
    for (const node of [primary, replica]) {
      const response = await node.api('/export?name=app.db');
      assert.equal(response.status, 200);
      assert.equal(response.headers.get('content-type'), 'application/vnd.sqlite3');
      const bytes = Buffer.from(await response.arrayBuffer());
      assert.equal(`${bytes.length}`, response.headers.get('content-length'));
      const copy = path.join(cluster.dir, `${node.name}.db`);
      fs.writeFileSync(copy, bytes);
      assert.equal(sqlite3(copy, 'SELECT x FROM t'), '1');
    }
    const secret = { headers: { authorization: `Bearer ${SECRET}` } };
    assert.equal((await fetch(at(primary, '/export?name=app.db'), secret)).status, 200);
    assert.equal((await primary.api('/export?name=nope.db')).status, 404);
    assert.equal((await primary.api('/export?name=../node.json')).status, 400);
    // An answer that is there is one whose copy is about to go.
    await until('no copy is left', () => spooled(primary).length === 0);
  });

  it('sends one state while an application writes', async () => {
    const db = new Sqlite(primary.file('busy.db'));
    db.pragma('journal_mode = wal');
    db.exec(
      'CREATE TABLE a(n); CREATE TABLE b(n); INSERT INTO a VALUES(0); INSERT INTO b VALUES(0)',
    );
    const both = db.transaction(() => db.exec('UPDATE a SET n = n + 1; UPDATE b SET n = n + 1'));
    let writing = true;
    const writer = (async () => {
      while (writing) {
        both();
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    try {
      for (let round = 0; round < 5; round++) {
        const response = await primary.api('/export?name=busy.db');
        const file = path.join(cluster.dir, `busy-${round}.db`);
        fs.writeFileSync(file, Buffer.from(await response.arrayBuffer()));
        const copy = new Sqlite(file);
        const { a, b } = copy.prepare('SELECT a.n AS a, b.n AS b FROM a, b').get() as {
          a: number;
          b: number;
        };
        assert.equal(a, b);
        assert.equal(copy.pragma('integrity_check', { simple: true }), 'ok');
        copy.close();
      }
    } finally {
      writing = false;
      await writer;
      db.close();
    }
  });

  it('takes a database in as one transaction, new or in the place of another, under open connections', async () => {
    const file = path.join(cluster.dir, 'other.db');
    sqlite3(file, "CREATE TABLE u(y); INSERT INTO u VALUES('imported')");
    const reader = new Sqlite(primary.file('app.db'));
    assert.equal(reader.prepare('SELECT count(*) FROM t').pluck().get(), 1);
    for (const name of ['app.db', 'fresh.db']) {
      const before = (await primary.position(name)).slice(0, 16) || '0';
      const response = await primary.api(`/import?name=${name}`, {
        method: 'POST',
        body: fs.readFileSync(file),
      });
      const report = (await response.json()) as { position: string };
      assert.equal(response.status, 200, JSON.stringify(report));
      assertShape('/import', report, example('## POST /import'));
      assert.equal(Number.parseInt(report.position, 16), Number.parseInt(before, 16) + 1, name);
      await inSync(primary, replica, name);
      assert.equal(sqlite3(replica.file(name), 'SELECT y FROM u'), 'imported');
    }
    assert.equal(reader.prepare('SELECT y FROM u').pluck().get(), 'imported');
    reader.close();
    assert.deepEqual(spooled(primary), []);
  });

  it('takes no database in under the name of a file of SQLite', async () => {
    for (const name of ['app.db-wal', 'new.db-journal', '.primary']) {
      const response = await primary.api(`/import?name=${name}`, {
        method: 'POST',
        body: '',
      });
      const { code } = (await response.json()) as { code: string };
      assert.deepEqual([response.status, code], [400, 'USAGE'], name);
    }
  });

  it('waits with an import for the lock of an application', async () => {
    const file = path.join(cluster.dir, 'waits.db');
    sqlite3(file, "CREATE TABLE u(y); INSERT INTO u VALUES('imported')");
    const app = new Sqlite(primary.file('locked.db'));
    app.exec('PRAGMA journal_mode = wal; CREATE TABLE t(x)');
    await inSync(primary, replica, 'locked.db');
    app.exec('BEGIN IMMEDIATE; INSERT INTO t VALUES(1)');
    const importing = primary.api('/import?name=locked.db', {
      method: 'POST',
      body: fs.readFileSync(file),
    });
    // It is at the lock once its process has the database open.
    await until('the import has opened it', () =>
      childrenOf(primary.pid).some((pid) => hasOpen(pid, primary.file('locked.db'))),
    );
    app.exec('COMMIT');
    const response = await importing;
    assert.equal(response.status, 200, await response.text());
    assert.equal(app.prepare('SELECT y FROM u').pluck().get(), 'imported');
    app.close();
  });

  it('takes nothing in that is no sound database, nor on a replica', async () => {
    const position = await primary.position('app.db');
    const send = (node: TestNode, body: Buffer<ArrayBuffer> | string) =>
      node.api('/import?name=app.db', { method: 'POST', body });
    const damaged = fs.readFileSync(path.join(cluster.dir, 'other.db'));
    damaged.fill(0xff, 4096, 4200);
    for (const body of ['', 'CREATE TABLE t(x);', damaged, damaged.subarray(0, 5000)]) {
      const response = await send(primary, body);
      assert.equal(response.status, 422, await response.text());
    }
    assert.equal((await send(replica, damaged)).status, 503);
    assert.equal(await primary.position('app.db'), position);
    assert.deepEqual(spooled(primary), []);
  });

  it('has commands for both', async () => {
    const file = path.join(cluster.dir, 'exported.db');
    const exported = await runCli(['export', 'app.db', file, ...config(replica)]);
    assert.equal(exported.status, 0, exported.stderr);
    assert.match(exported.stdout, /exported\.db: app\.db, 8\.0 KiB\n/);
    const again = await runCli(['export', 'app.db', file, ...config(replica)]);
    assert.match(again.stderr, /exists/);
    const mounted = await runCli(['export', 'app.db', primary.file('x.db'), ...config(replica)]);
    assert.match(mounted.stderr, /is in the mount of litefs-lite/);
    fs.writeFileSync(`${file}-wal`, 'of the file that was there before');
    // At a URL it shows its secret: another one than the node's is refused.
    for (const [LITEFS_SECRET, status] of [
      [SECRET, 0],
      ['wrong', 77],
    ] as const) {
      const command = ['export', '--force', 'app.db', file, '--url', at(replica, '')];
      const shown = await runCli(command, { env: { LITEFS_SECRET } });
      assert.equal(shown.status, status, shown.stderr);
    }
    assert(!fs.existsSync(`${file}-wal`));
    const imported = await runCli(['import', 'copy.db', file, ...config(primary)]);
    assert.equal(imported.status, 0, imported.stderr);
    assert.match(imported.stdout, /^copy\.db: 8\.0 KiB, at 0000000000000001\/[0-9a-f]{16}\n$/);
    assert.equal(sqlite3(primary.file('copy.db'), 'SELECT y FROM u'), 'imported');
    const missing = await runCli(['export', 'nope.db', `${file}.2`, ...config(primary)]);
    assert.equal(missing.status, 66);
    assert.match(missing.stderr, /there is no database nope\.db/);
    assert(!fs.existsSync(`${file}.2`));
    fs.writeFileSync(`${file}.bad`, 'no database');
    const refused = await runCli(['import', 'copy.db', `${file}.bad`, ...config(primary)]);
    assert.equal(refused.status, 65);
    assert.match(refused.stderr, /no SQLite database/);
  });

  it('runs a command on the right node only', async () => {
    const script = ['--', 'sh', '-c', 'echo "$LITEFS_IS_PRIMARY in $LITEFS_DIR"; exit 7'];
    const here = await runCli(['run', '-if-primary', ...config(primary), ...script]);
    assert.equal(here.status, 7);
    assert.equal(here.stdout, `true in ${primary.mount}\n`);
    for (const flag of ['-if-primary', '-if-candidate']) {
      const there = await runCli(['run', flag, ...config(replica), ...script]);
      assert.deepEqual([there.status, there.stdout], [0, '']);
      assert.match(there.stderr, /not run/);
    }
  });

  it('shows metrics that agree with what has happened', async () => {
    sqlite3(primary.file('counted.db'), 'CREATE TABLE t(x); INSERT INTO t VALUES(1)');
    await inSync(primary, replica, 'counted.db');
    const [ours, theirs] = await Promise.all([metricsOf(primary), metricsOf(replica)]);
    assert.equal(ours.get('litefs_lite_database_commits_total{database="counted.db"}'), 2);
    assert.equal(theirs.get('litefs_lite_database_commits_total{database="counted.db"}'), 2);
    assert.equal(ours.get('litefs_lite_database_txid{database="counted.db"}'), 2);
    assert.equal(ours.get('litefs_lite_capture_seconds_count{database="counted.db"}'), 2);
    assert.equal(
      ours.get('litefs_lite_capture_seconds_bucket{database="counted.db",le="+Inf"}'),
      2,
    );
    assert((theirs.get('litefs_lite_apply_seconds_count{database="counted.db"}') ?? 0) >= 1);
    assert.equal(ours.get('litefs_lite_primary'), 1);
    assert.equal(theirs.get('litefs_lite_primary'), 0);
    assert.equal(ours.get('litefs_lite_healthy'), 1);
    assert.equal(ours.get('litefs_lite_replicas'), 1);
    assert.equal(theirs.get('litefs_lite_in_sync'), 1);
    assert.equal(theirs.get('litefs_lite_lag_seconds'), 0);
    assert((ours.get('litefs_lite_fuse_requests_total{operation="open"}') ?? 0) > 0);
    assert((ours.get('process_resident_memory_bytes') ?? 0) > 0);
    assert([...ours.keys()].some((name) => name.startsWith('litefs_lite_build_info{')));
  });

  async function metricsOf(node: TestNode): Promise<Map<string, number>> {
    const response = await fetch(at(node, '/metrics'));
    assert.match(response.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
    const lines = (await response.text()).split('\n').filter((line) => /^[a-z]/.test(line));
    return new Map(
      lines.map((line) => {
        const space = line.lastIndexOf(' ');
        return [line.slice(0, space), Number(line.slice(space + 1))];
      }),
    );
  }
});

/** Files of transfers that were left behind. */
function spooled(node: TestNode): string[] {
  return fs
    .readdirSync(path.join(node.data, 'spool'))
    .filter((name) => name.startsWith('transfer'));
}

/** The first example below a heading of the document. */
function example(heading: string, language = 'json'): unknown {
  const from = DOCUMENT.indexOf(`\n${heading}`);
  assert(from >= 0, heading);
  const fence = `\`\`\`${language}\n`;
  const start = DOCUMENT.indexOf(fence, from) + fence.length;
  return JSON.parse(DOCUMENT.slice(start, DOCUMENT.indexOf('```', start)));
}

/** The same fields, of the same kinds; names of databases and nodes, and empty lists, aside. */
function assertShape(where: string, actual: unknown, documented: unknown): void {
  if (actual === null || documented === null) return;
  assert.equal(typeof actual, typeof documented, where);
  if (Array.isArray(documented)) {
    assert(Array.isArray(actual), where);
    for (const item of actual) if (documented.length > 0) assertShape(where, item, documented[0]);
  } else if (typeof documented === 'object' && !/\.(?:positions|behindMs)$/.test(where)) {
    assert.deepEqual(Object.keys(actual as object), Object.keys(documented), where);
    for (const [name, value] of Object.entries(documented)) {
      assertShape(`${where}.${name}`, (actual as Record<string, unknown>)[name], value);
    }
  }
}
