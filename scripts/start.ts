/**
 * `npm start`: a primary and a replica on this machine, on loopback, in a scratch folder of the project, to try
 * things out. Shows where they are mounted and a live line for each database. Ctrl-C removes all of it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { unguardBareFolder } from '../src/daemon/bare-folder.ts';
import type { NodeReport } from '../src/http/info.ts';
import { unmount } from '../src/os/mounts.ts';

const ROOT = path.resolve(import.meta.dirname, '..');
const SCRATCH = path.join(ROOT, '.scratch', 'demo');
const REFRESH_MS = 500;

interface DemoNode {
  readonly name: string;
  readonly mount: string;
  readonly config: string;
  readonly url: string;
  readonly process: ChildProcess;
}

async function main(): Promise<number> {
  removeScratch();
  const [httpA, replicationA, httpB, replicationB] = await freePorts(4);
  const primary = startNode('primary', {
    http: httpA,
    replication: replicationA,
    candidate: true,
    primary: replicationA,
  });
  const replica = startNode('replica', {
    http: httpB,
    replication: replicationB,
    candidate: false,
    primary: replicationA,
  });
  const nodes = [primary, replica];
  const ended = Promise.all(nodes.map(exited));
  const stop = () => {
    for (const node of nodes) node.process.kill('SIGTERM');
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  const failed = Promise.race(nodes.map(exited));
  failed.then(stop);

  if ((await Promise.race([waitUntilUp(nodes), failed])) === 'up') {
    console.log(`
  primary   ${primary.mount}   (${primary.url})
  replica   ${replica.mount}   (${replica.url})

  Try, in another terminal:
    sqlite3 ${path.join(primary.mount, 'app.db')} "CREATE TABLE t(x); INSERT INTO t VALUES('hello')"
    sqlite3 ${path.join(replica.mount, 'app.db')} "SELECT * FROM t"
    bin/litefs-lite status --config ${replica.config}
    bin/litefs-lite verify --config ${replica.config}
    bin/litefs-lite doctor --config ${replica.config}

  Ctrl-C stops both and removes everything.
`);
    await Promise.race([watch(primary, replica), failed]);
  }
  const statuses = await ended;
  removeScratch();
  return statuses.find((status) => status !== 0) ?? 0;
}

interface Ports {
  readonly http: number;
  readonly replication: number;
  readonly candidate: boolean;
  readonly primary: number;
}

function startNode(name: string, options: Ports): DemoNode {
  const dir = path.join(SCRATCH, name);
  const mount = path.join(dir, 'mount');
  fs.mkdirSync(dir, { recursive: true });
  const config = path.join(dir, 'litefs.yml');
  fs.writeFileSync(
    config,
    `fuse: {dir: "${mount}"}
data: {dir: "${path.join(dir, 'data')}"}
http: {addr: "127.0.0.1:${options.http}"}
replication: {addr: "127.0.0.1:${options.replication}", primary: "127.0.0.1:${options.primary}"}
lease: {type: static, candidate: ${options.candidate}, hostname: primary}
`,
  );
  // A process group of its own: Ctrl-C comes to us, and we stop both in order.
  const child = spawn(path.join(ROOT, 'bin', 'litefs-lite'), ['mount', '-config', config], {
    stdio: ['ignore', 'inherit', 'inherit'],
    detached: true,
  });
  return { name, mount, config, url: `http://127.0.0.1:${options.http}`, process: child };
}

function exited(node: DemoNode): Promise<number> {
  return new Promise((resolve) => {
    node.process.on('exit', (code) => resolve(code ?? 1));
  });
}

async function waitUntilUp(nodes: readonly DemoNode[]): Promise<'up'> {
  for (const node of nodes) {
    for (;;) {
      const report = await info(node);
      if (report && (report.isPrimary || report.upstream?.inSync)) break;
      await pause();
    }
  }
  return 'up';
}

/** Prints a line for each database whenever something has changed. */
async function watch(primary: DemoNode, replica: DemoNode): Promise<void> {
  let before = '';
  for (;;) {
    const [a, b] = [await info(primary), await info(replica)];
    if (!a || !b) return;
    const lines = a.databases.map((db) => {
      const there = b.databases.find(({ name }) => name === db.name);
      return `  ${db.name}  primary ${db.position}  replica ${there?.position ?? '-'}  lag ${Math.round(b.upstream?.lagMs ?? 0)} ms`;
    });
    const key = lines.map((line) => line.replace(/lag .*/, '')).join('\n');
    if (key !== before) console.log(lines.join('\n'));
    before = key;
    await pause();
  }
}

async function info(node: DemoNode): Promise<NodeReport | undefined> {
  try {
    const response = await fetch(`${node.url}/info`);
    return (await response.json()) as NodeReport;
  } catch {
    return undefined;
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, REFRESH_MS));
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<net.Server>((resolve) => {
          const server = net.createServer().listen(0, '127.0.0.1', () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((server) => (server.address() as net.AddressInfo).port);
  for (const server of servers) server.close();
  return ports;
}

/** What an interrupted run has left is taken away as well. */
function removeScratch(): void {
  for (const name of ['primary', 'replica']) {
    const mount = path.join(SCRATCH, name, 'mount');
    if (!fs.existsSync(path.join(SCRATCH, name))) continue;
    unmount(mount, { detach: true });
    unguardBareFolder(mount);
  }
  fs.rmSync(SCRATCH, { recursive: true, force: true });
}

process.exitCode = await main();
