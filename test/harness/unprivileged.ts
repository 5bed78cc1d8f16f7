/**
 * A user of the machine without rights, who owns one folder in the mount (as `adopt` makes for an application), and what
 * lies outside of the mount and is none of that user's business.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import type { NodeReport } from '../../src/http/info.ts';
import { type Cluster, startCluster, type TestNode, until } from './cluster.ts';

export const USER = 54321;
/** The folder of theirs in each mount. */
export const FOLDER = 'app';
const SECRET = 'f2b0a4d1c6e8937561f4e0d2c3b5a697';
const COMMAND_MS_MAX = 20_000;
const ANSWER_MS_MAX = 5000;

export const OTHERS = ['FIFO', 'symbolic link', 'socket', 'directory'] as const;
export type Other = (typeof OTHERS)[number];

/** A cluster whose mounts all users may enter, each with a folder that belongs to USER. */
export async function withUser(
  replicas: number,
  run: (nodes: {
    cluster: Cluster;
    primary: TestNode;
    replica: TestNode;
    outside: string;
  }) => Promise<void>,
): Promise<void> {
  const config = { fuse: { 'allow-other': true }, replication: { secret: SECRET } };
  const { cluster, ...nodes } = await startCluster('auto', { replicas, config });
  try {
    // The way to the mounts; data.dir beside them is the daemon's alone.
    fs.chmodSync(cluster.dir, 0o755);
    // Root's: nobody else may look into it.
    const outside = path.join(cluster.dir, 'outside');
    fs.mkdirSync(outside, { mode: 0o700 });
    for (const node of cluster.nodes) giveFolder(node);
    await run({ cluster, ...nodes, outside });
  } finally {
    await cluster.close();
  }
}

function giveFolder(node: TestNode): void {
  fs.mkdirSync(node.file(FOLDER));
  fs.chownSync(node.file(FOLDER), USER, USER);
}

/** Runs a script in the folder as that user; its output. Fails the test when it fails, or does not end. */
export function asUser(node: TestNode, script: string): string {
  const user = [`--reuid=${USER}`, `--regid=${USER}`, '--clear-groups'];
  const run = spawnSync('setpriv', [...user, 'sh', '-euc', script], {
    cwd: node.file(FOLDER),
    encoding: 'utf8',
    timeout: COMMAND_MS_MAX,
    killSignal: 'SIGKILL',
  });
  assert.equal(run.status, 0, `${script}: ${run.stderr || run.error || run.signal}`);
  return run.stdout.trim();
}

/** Puts something that is no file under a name in the folder, by a rename. */
export async function putOther(node: TestNode, name: string, kind: Other): Promise<void> {
  if (kind === 'socket') {
    // A shell has no command for it.
    const made = node.file(`${FOLDER}/socket`);
    const server = net.createServer();
    await new Promise<void>((resolve) => server.listen(made, resolve));
    fs.chownSync(made, USER, USER);
    asUser(node, `mv socket '${name}'`);
    server.close();
    return;
  }
  const make = { FIFO: 'mkfifo made', 'symbolic link': 'ln -s / made', directory: 'mkdir made' };
  asUser(node, `${make[kind]}; mv -T made '${name}'`);
}

/** The same in the backing tree, where it may have been left before the node came to be a replica. */
export async function leaveOther(node: TestNode, name: string, kind: Other): Promise<void> {
  const file = node.backing(`${FOLDER}/${name}`);
  if (kind === 'FIFO') assert.equal(spawnSync('mkfifo', [file]).status, 0);
  if (kind === 'symbolic link') fs.symlinkSync('/', file);
  if (kind === 'directory') fs.mkdirSync(file);
  if (kind === 'socket') {
    // The end of a server removes it under the name that it was made with.
    const server = net.createServer();
    await new Promise<void>((resolve) => server.listen(`${file}.made`, resolve));
    fs.renameSync(`${file}.made`, file);
    server.close();
  }
  fs.lchownSync(file, USER, USER);
}

/** What `status` says of a database: its state, and why. '' when the node does not answer. */
export async function stateOf(node: TestNode, name: string): Promise<string> {
  const database = (await reportOf(node))?.databases.find((one) => one.name === name);
  return database ? `${database.state}: ${database.reason ?? ''}` : '';
}

async function reportOf(node: TestNode): Promise<NodeReport | undefined> {
  const signal = AbortSignal.timeout(ANSWER_MS_MAX);
  try {
    const response = await fetch(`http://127.0.0.1:${node.httpPort}/info`, { signal });
    return response.ok ? ((await response.json()) as NodeReport) : undefined;
  } catch {
    return undefined;
  }
}

/** Waits until `status` says that of a database. */
export async function untilState(node: TestNode, name: string, wanted: RegExp): Promise<void> {
  let seen = '';
  await until(
    () => `${node.name}: ${name} is ${wanted}: it is "${seen}"\n${node.logText()}`,
    async () => {
      seen = await stateOf(node, name);
      return wanted.test(seen);
    },
  );
}

/** Asks a node as root does, who knows its secret. */
export async function ask(
  node: TestNode,
  method: string,
  request: string,
  body?: Buffer,
): Promise<{ status: number; text: string }> {
  const response = await fetch(`http://127.0.0.1:${node.httpPort}${request}`, {
    method,
    body: body && new Uint8Array(body),
    headers: { authorization: `Bearer ${SECRET}` },
    signal: AbortSignal.timeout(COMMAND_MS_MAX),
  });
  return { status: response.status, text: await response.text() };
}
