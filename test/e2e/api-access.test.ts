/**
 * The HTTP API as users of the same machine meet it: what is in files that they may not read is not to be had through it
 * either, nor changed. On 25311ce all of it was open to them, with and without replication.secret: /export sent a database
 * of mode 0600, and /import replaced it on all nodes.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { sqlite3 } from '../harness/app.ts';
import { type CliRun, program, runCli } from '../harness/cli.ts';
import {
  type Cluster,
  freePorts,
  inSync,
  startCluster,
  type TestNode,
} from '../harness/cluster.ts';

const NOBODY = ['--reuid=65534', '--regid=65534', '--clear-groups', '--no-new-privs', '--'];
const EXIT_CONFIG = 78;
const EXIT_REJECTED = 77;
const ROUTES = [
  ['GET', '/export?name=app.db'],
  ['HEAD', '/export?name=app.db'],
  ['POST', '/import?name=app.db'],
  ['POST', '/import?name=new.db'],
  ['POST', '/restore?name=app.db'],
  ['POST', '/halt?name=app.db&id=7'],
  ['DELETE', '/halt?name=app.db&id=7'],
  ['POST', '/snapshot'],
  ['POST', '/snapshot?name=app.db'],
  ['POST', '/increment?name=app.db'],
  ['GET', '/verify?name=app.db'],
] as const;
/** What proxies, browsers and attackers add. */
const HEADERS = [
  [],
  ['X-Forwarded-For: 127.0.0.1', 'X-Real-IP: 127.0.0.1', 'X-Forwarded-Proto: http'],
  ['Forwarded: for=127.0.0.1', 'Via: 1.1 box1'],
  ['Origin: http://127.0.0.1'],
  ['Host: localhost'],
  ['Authorization: Bearer undefined'],
  ['Authorization: Bearer wrong'],
];

const DOCUMENT = fs.readFileSync(
  path.resolve(import.meta.dirname, '../../docs/http-api.md'),
  'utf8',
);

/** Runs a program as a user without rights. */
function asNobody(words: readonly string[], env: Record<string, string> = {}): Promise<CliRun> {
  return runCli([...NOBODY, ...words], {
    bin: 'setpriv',
    cwd: '/',
    env: { HOME: '/root', ...env },
  });
}

for (const secret of [undefined, 'hush, this is of all the nodes']) {
  describe(`the API of a node ${secret ? 'with a' : 'without'} secret`, () => {
    let cluster: Cluster;
    let primary: TestNode;
    let replica: TestNode;
    let backups: string;
    /** What users may read: a copy of the program when it is one file, configs, a database to import. */
    let shared: string;
    let command: string;

    before(async () => {
      ({ cluster, primary, replica } = await startCluster('auto', {
        config: {
          fuse: { 'allow-other': true },
          ...(secret === undefined ? {} : { replication: { secret } }),
        },
      }));
      backups = path.join(cluster.dir, 'backups');
      fs.chmodSync(cluster.dir, 0o755);
      shared = path.join(cluster.dir, 'shared');
      fs.mkdirSync(shared);
      command = program();
      if (process.env.LITEFS_LITE_EXECUTABLE) {
        command = path.join(shared, 'litefs-lite');
        fs.copyFileSync(program(), command);
      }
      const usable = await asNobody([command, 'version']);
      assert.equal(
        usable.status,
        0,
        `other users must be able to read this checkout: ${usable.stderr}`,
      );
      sqlite3(path.join(shared, 'evil.db'), "CREATE TABLE t(x); INSERT INTO t VALUES('evil')");
      sqlite3(primary.file('app.db'), "CREATE TABLE t(x); INSERT INTO t VALUES('private')");
      fs.chmodSync(primary.file('app.db'), 0o600);
      await inSync(primary, replica, 'app.db');
    });
    after(() => cluster?.close());

    const at = (node: TestNode, where: string) => `http://127.0.0.1:${node.httpPort}${where}`;

    /** As curl has it: the status, and the body. */
    async function curl(
      method: string,
      url: string,
      headers: readonly string[] = [],
    ): Promise<{ status: number; body: string }> {
      const body = method === 'POST' ? ['--data-binary', `@${shared}/evil.db`] : [];
      const how = method === 'HEAD' ? ['--head'] : ['-X', method, ...body];
      const more = headers.flatMap((header) => ['-H', header]);
      const run = await asNobody([
        'curl',
        '-sS',
        '-m',
        '20',
        '-w',
        '\n%{http_code}',
        ...how,
        ...more,
        url,
      ]);
      // It stops sending when it is refused.
      const lines = run.stdout.split('\n');
      return { status: Number(lines.at(-1)), body: lines.slice(0, -1).join('\n') };
    }

    it('gives nothing to a user of the machine, does nothing for one, and says what to do', async () => {
      const database = await asNobody(['cat', primary.file('app.db')]);
      assert.match(database.stderr, /Permission denied/);
      const positions = await Promise.all(
        [primary, replica].map((node) => node.position('app.db')),
      );
      for (const node of [primary, replica]) {
        for (const [method, where] of ROUTES) {
          for (const headers of node === primary ? HEADERS : [[]]) {
            const told = `${method} ${where} of the ${node.name}, ${headers.join()}`;
            const { status, body } = await curl(method, at(node, where), headers);
            assert.equal(status, 401, told);
            if (method === 'HEAD') continue;
            const { code, hint } = JSON.parse(body) as { code: string; hint: string };
            assert.equal(code, 'UNAUTHORIZED', told);
            assert.match(hint, /^As root on that machine .*replication\.secret/, told);
          }
        }
        for (const where of ['/', '/info', '/databases', '/history', '/snapshots', '/metrics']) {
          assert.equal((await curl('GET', at(node, where))).status, 200, where);
        }
      }
      assert.deepEqual(
        await Promise.all([primary, replica].map((node) => node.position('app.db'))),
        positions,
      );
      assert.equal(sqlite3(primary.file('app.db'), 'SELECT x FROM t'), 'private');
      assert(!fs.existsSync(primary.file('new.db')));
      assert(!fs.existsSync(backups));
      assert.equal((await primary.info()).databases[0].haltHolder, null);
      assert.deepEqual(fs.readdirSync(path.join(primary.data, 'spool')), []);
    });

    it('does it for who shows the secret, also through a proxy', async () => {
      const token = [`Authorization: Bearer ${secret}`];
      const wanted = secret === undefined ? 401 : 200;
      for (const headers of HEADERS.slice(0, 5)) {
        const all = [...headers, ...token];
        assert.equal((await curl('GET', at(primary, '/verify?name=app.db'), all)).status, wanted);
      }
      assert.equal((await curl('HEAD', at(primary, '/export?name=app.db'), token)).status, wanted);
    });

    it('has a socket that other users cannot connect to, and makes it again after each start and each end', async () => {
      const mode = () => fs.lstatSync(replica.socket).mode & ~fs.constants.S_IFSOCK;
      assert.equal(mode() & 0o007, 0);
      const words = ['curl', '-sS', '--unix-socket', replica.socket, 'http://localhost/info'];
      assert.match((await asNobody(words)).stderr, /ould not connect|ouldn't connect/);
      await replica.kill();
      assert(fs.existsSync(replica.socket), 'a dead node leaves it');
      await replica.start();
      assert.equal(mode() & 0o007, 0);
      assert.equal((await replica.api('/verify?name=app.db')).status, 200);
      assert.equal(await replica.stop(), 0);
      assert(!fs.existsSync(replica.socket));
      await replica.start();
      assert.equal((await replica.api('/verify?name=app.db')).status, 200);
      const who = /^GET \/verify\?name=app\.db: user 0, process \d+$/;
      assert.equal((await replica.logged(who)).level, 'info');
    });

    it('answers the commands of root, which need no flag but the config', async () => {
      const file = path.join(cluster.dir, 'exported.db');
      for (const words of [
        ['export', 'app.db', file, '--config', primary.configFile],
        ['run', '--with-halt-lock-on', 'app.db', '--config', replica.configFile, '--', 'true'],
        // Of that very config; and of the one that is found in the working directory.
        ['verify', 'app.db', '--config', primary.configFile, '--url', at(primary, '')],
        ['verify', 'app.db', '--url', `localhost:${replica.httpPort}`],
      ]) {
        const run = await runCli(words, { cwd: replica.dir });
        assert.equal(run.status, 0, `${words.join(' ')}: ${run.stderr}`);
      }
      // As docs/http-api.md has it.
      const [example = ''] = /^ {4}curl .*--unix-socket .*$/m.exec(DOCUMENT) ?? [];
      const script = example.replace('/run/litefs-lite/20202.sock', primary.socket);
      const { stdout } = await runCli(['-c', script], { bin: 'sh' });
      assert.equal((JSON.parse(stdout) as { ok: boolean }).ok, true);
      const imported = await runCli(['import', 'by-root.db', file, '--config', primary.configFile]);
      assert.equal(imported.status, 0, imported.stderr);
    });

    it('is not asked at the socket of another node of the machine', async () => {
      const words = ['verify', 'app.db', '--url', at(replica, ''), '--config', primary.configFile];
      const refused = await runCli(words);
      assert.equal(refused.status, EXIT_REJECTED, refused.stdout);
      assert.match(refused.stderr, /needs the secret of the node\n .*--config FILE/);
      if (secret !== undefined) {
        const given = await runCli(words, { env: { LITEFS_SECRET: secret } });
        assert.equal(given.status, 0, given.stderr);
      }
      const env = { LITEFS_SECRET: 'wrong' };
      const wrong = await runCli(['verify', '--url', at(primary, '')], { env });
      assert.equal(wrong.status, EXIT_REJECTED);
      assert.match(wrong.stderr, /not the secret of the node\n {2}LITEFS_SECRET is not its secret/);
      // At its socket it wants none.
      const unasked = await runCli(['verify', '--config', primary.configFile], { env });
      assert.equal(unasked.status, 0, unasked.stderr);
    });

    it('refuses the commands of other users, which say what to type', async () => {
      const config = path.join(shared, 'litefs.yml');
      const { replication, ...rest } = JSON.parse(fs.readFileSync(primary.configFile, 'utf8'));
      // Without the secret, which a file for all to read must not have.
      const own = { ...rest, replication: { ...replication, secret: undefined } };
      fs.writeFileSync(config, JSON.stringify(own));
      const [named, asked] = [
        ['--config', config],
        ['--url', at(primary, '')],
      ];
      for (const words of [
        ['export', ...asked, 'app.db'],
        ['import', ...named, 'app.db', path.join(shared, 'evil.db')],
        ['verify', ...named, 'app.db'],
        ['snapshot', ...asked],
        ['run', ...named, '--with-halt-lock-on', 'app.db', '--', 'echo', 'ran'],
      ].slice(secret === undefined ? 0 : -1)) {
        const run = await asNobody([command, ...words]);
        assert.equal(run.status, EXIT_REJECTED, `${words.join(' ')}: ${run.stderr}`);
        assert.match(run.stderr, /Run it as root .*sudo litefs-lite.*LITEFS_SECRET/);
        assert.equal(run.stdout, '');
      }
      const status = await asNobody([command, 'status', '--config', config]);
      assert.equal(status.status, 0, status.stderr);
      fs.chmodSync(config, 0o600);
      const unreadable = await asNobody([command, 'verify', '--config', config]);
      assert.equal(unreadable.status, EXIT_CONFIG, unreadable.stderr);
      assert.match(unreadable.stderr, /EACCES.*\n .*sudo litefs-lite/);
      if (secret === undefined) return;
      const given = await asNobody([command, 'verify', 'app.db', ...asked], {
        LITEFS_SECRET: secret,
      });
      assert.equal(given.status, 0, given.stderr);
    });

    it('has commands that show nothing to another user who listens while it is down', async () => {
      const [port] = await freePorts(1);
      const config = path.join(cluster.dir, 'down.yml');
      const value = JSON.parse(fs.readFileSync(primary.configFile, 'utf8'));
      const socket = path.join(cluster.dir, 'down.sock');
      const own = { ...value, http: { addr: `127.0.0.1:${port}`, socket } };
      fs.writeFileSync(config, JSON.stringify(own));
      const heard: (string | undefined)[] = [];
      const server = http.createServer((request, response) => {
        heard.push(`${request.method} ${request.headers.authorization}`);
        response.writeHead(request.method === 'GET' ? 200 : 401);
        response.end('{"isPrimary":true,"databases":[],"code":"UNAUTHORIZED","message":"no"}');
      });
      process.seteuid?.(65534);
      try {
        await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
      } finally {
        process.seteuid?.(0);
      }
      try {
        const file = path.join(shared, 'evil.db');
        for (const words of [['snapshot'], ['import', 'app.db', file]]) {
          const run = await runCli([...words, '--config', config]);
          assert.equal(run.status, EXIT_REJECTED, run.stderr);
          assert.match(run.stderr, /No node answers at its socket \S+down\.sock \(ENOENT\)/);
        }
        assert.deepEqual(heard, []);
      } finally {
        server.close();
      }
    });
  });
}
