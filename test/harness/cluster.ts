/**
 * Real nodes for tests: daemons as processes of their own, with real mounts, on loopback, in a temporary
 * folder. Everything goes away with close(), also when the test failed.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import type { NodeReport } from '../../src/http/info.ts';
import { program } from './cli.ts';
import { fetchLocally } from './local-api.ts';
import { baseFor } from './memory.ts';
import { clearMountPoint } from './mount-points.ts';

const START_MS_MAX = 30_000;
export const WAIT_MS_MAX = 30_000;
const POLL_MS = 5;

export type Passthrough = 'auto' | 'off';

export interface NodeSettings {
  readonly candidate: boolean;
  readonly passthrough: Passthrough;
  /** The node to follow; its replication port. */
  readonly primaryPort?: number;
  /** What is run in place of the suite's program. */
  readonly executable?: string;
  /** More of its environment. */
  readonly environment?: Readonly<Record<string, string>>;
  /** More lines for the config file. */
  readonly config?: Record<string, unknown>;
}

export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly [key: string]: unknown;
}

/** One daemon and its directories; may be started and stopped again and again. */
export class TestNode {
  readonly name: string;
  readonly dir: string;
  readonly mount: string;
  readonly data: string;
  readonly httpPort: number;
  readonly replicationPort: number;
  readonly settings: NodeSettings;
  readonly log: LogLine[] = [];
  #process: ChildProcess | undefined;
  #exit: Promise<number | null> = Promise.resolve(null);
  #listeners = new Set<() => void>();

  constructor(name: string, dir: string, ports: [number, number], settings: NodeSettings) {
    this.name = name;
    this.dir = dir;
    this.mount = path.join(dir, 'mount');
    this.data = path.join(dir, 'data');
    [this.httpPort, this.replicationPort] = ports;
    this.settings = settings;
    fs.mkdirSync(dir, { recursive: true });
  }

  /** A path in the mount. */
  file(name: string): string {
    return path.join(this.mount, name);
  }

  /** The same file in the backing tree. */
  backing(name: string): string {
    return path.join(this.data, 'tree', name);
  }

  /** What it is started with, and what commands are told to find it. */
  get configFile(): string {
    return path.join(this.dir, 'litefs.yml');
  }

  get pid(): number {
    assert(this.#process?.pid);
    return this.#process.pid;
  }

  /** Starts the daemon; resolves when it is primary or in sync. */
  async start(args: readonly string[] = []): Promise<void> {
    const from = this.log.length;
    this.launch(args);
    const ready = this.settings.candidate ? /^mounted on/ : /^in sync/;
    const over = new AbortController();
    try {
      await Promise.race([
        this.logged(ready, from, START_MS_MAX, over.signal),
        this.#exit.then((status) => {
          throw new Error(
            `${this.name} ended with ${status} before it was ready:\n${this.logText()}`,
          );
        }),
      ]);
    } finally {
      over.abort();
    }
  }

  /** Starts the daemon and does not wait. */
  launch(args: readonly string[] = []): void {
    const file = this.configFile;
    // It may have a secret in it.
    fs.writeFileSync(file, JSON.stringify(this.#config(), null, 2), { mode: 0o600 });
    const { executable, environment } = this.settings;
    const child = spawn(executable ?? program(), ['mount', '-config', file, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1', ...environment },
    });
    this.#process = child;
    this.#exit = new Promise((resolve) => child.on('exit', (code) => resolve(code)));
    child.stdout.resume();
    readline.createInterface({ input: child.stderr }).on('line', (line) => {
      let entry: LogLine;
      try {
        entry = JSON.parse(line) as LogLine;
      } catch {
        entry = { level: 'raw', msg: line };
      }
      this.log.push(entry);
      for (const listener of this.#listeners) listener();
    });
  }

  /** SIGTERM, and the exit status. */
  async stop(): Promise<number | null> {
    this.#process?.kill('SIGTERM');
    const status = await this.#exit;
    this.#process = undefined;
    return status;
  }

  /** kill -9. */
  async kill(): Promise<void> {
    this.#process?.kill('SIGKILL');
    await this.#exit;
    this.#process = undefined;
  }

  /** Resolves with the exit status when it ends by itself. */
  get exited(): Promise<number | null> {
    return this.#exit;
  }

  /** The first line of the log from `from` on that matches, now or later. Waits for nothing once `over` is aborted. */
  async logged(
    pattern: RegExp,
    from = 0,
    waitMs = WAIT_MS_MAX,
    over?: AbortSignal,
  ): Promise<LogLine> {
    const find = () => this.log.slice(from).find(({ msg }) => pattern.test(msg));
    const present = find();
    if (present) return present;
    return new Promise((resolve, reject) => {
      const end = () => {
        clearTimeout(timer);
        this.#listeners.delete(look);
      };
      const timer = setTimeout(() => {
        end();
        reject(new Error(`${this.name} did not log ${pattern}:\n${this.logText()}`));
      }, waitMs);
      const look = () => {
        const line = find();
        if (!line) return;
        end();
        resolve(line);
      };
      this.#listeners.add(look);
      over?.addEventListener('abort', end);
    });
  }

  logText(): string {
    return this.log.map(({ level, msg }) => `  ${this.name} ${level}: ${msg}`).join('\n');
  }

  async info(): Promise<NodeReport> {
    const response = await fetch(`http://127.0.0.1:${this.httpPort}/info`);
    return (await response.json()) as NodeReport;
  }

  /** Asks its API at `where`, a path with a query, also for what is not for everybody: at its socket. */
  api(where: string, request: RequestInit = {}): Promise<Response> {
    return fetchLocally(this.socket, where, request);
  }

  get socket(): string {
    return path.join(this.dir, 'api.sock');
  }

  /** The position that the mount shows of a database; '' without one. */
  async position(database: string): Promise<string> {
    try {
      return (await fs.promises.readFile(this.file(`${database}-pos`), 'latin1')).trim();
    } catch {
      return '';
    }
  }

  /** Resident memory in bytes. */
  residentBytes(): number {
    const status = fs.readFileSync(`/proc/${this.pid}/status`, 'latin1');
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
  }

  /** The highest it ever was. */
  peakBytes(): number {
    const status = fs.readFileSync(`/proc/${this.pid}/status`, 'latin1');
    return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
  }

  /** Processor time that its threads have used so far, ms: as the scheduler counts it, and not in ticks of 10 ms. */
  cpuMs(): number {
    const tasks = `/proc/${this.pid}/task`;
    const usedNs = (thread: string) =>
      Number(fs.readFileSync(`${tasks}/${thread}/schedstat`, 'latin1').split(' ')[0]);
    return fs.readdirSync(tasks).reduce((sum, thread) => sum + usedNs(thread) / 1e6, 0);
  }

  #config(): Record<string, unknown> {
    const { candidate, passthrough, primaryPort, config = {} } = this.settings;
    const primary = primaryPort ?? this.replicationPort;
    const own: Record<string, Record<string, unknown>> = {
      fuse: { dir: this.mount, passthrough },
      data: { dir: this.data },
      http: { addr: `127.0.0.1:${this.httpPort}`, socket: this.socket },
      replication: { addr: `127.0.0.1:${this.replicationPort}`, primary: `127.0.0.1:${primary}` },
      lease: { type: 'static', candidate, 'reconnect-delay': '50ms' },
      log: { debug: true },
    };
    for (const [key, value] of Object.entries(config)) {
      const section = own[key];
      own[key] = section
        ? { ...section, ...(value as object) }
        : (value as Record<string, unknown>);
    }
    return own;
  }
}

export class Cluster {
  readonly dir: string;
  readonly nodes: TestNode[] = [];

  /** `base`: where its folder is made. */
  constructor(base = os.tmpdir()) {
    this.dir = fs.mkdtempSync(path.join(base, 'litefs-lite-test-'));
  }

  async add(name: string, settings: NodeSettings): Promise<TestNode> {
    const [http, replication] = await freePorts(2);
    const node = new TestNode(name, path.join(this.dir, name), [http, replication], settings);
    this.nodes.push(node);
    return node;
  }

  /** A replica of a node of this cluster, in sync. */
  async follow(primary: TestNode, config?: Record<string, unknown>): Promise<TestNode> {
    const replica = await this.add('replica', {
      candidate: false,
      passthrough: primary.settings.passthrough,
      primaryPort: primary.replicationPort,
      config,
    });
    await replica.start();
    return replica;
  }

  async close(): Promise<void> {
    await Promise.all([...this.nodes].reverse().map((node) => node.kill()));
    for (const node of this.nodes) clearMountPoint(node.mount);
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

/** A primary and replicas of it, all ready. */
export async function startCluster(
  passthrough: Passthrough,
  options: { replicas?: number; config?: Record<string, unknown>; base?: string } = {},
): Promise<{ cluster: Cluster; primary: TestNode; replica: TestNode; replicas: TestNode[] }> {
  const cluster = new Cluster(options.base ?? baseFor(passthrough));
  try {
    const { config } = options;
    const primary = await cluster.add('primary', { candidate: true, passthrough, config });
    await primary.start();
    const replicas: TestNode[] = [];
    for (let i = 1; i <= (options.replicas ?? 1); i++) {
      const replica = await cluster.add(`replica-${i}`, {
        candidate: false,
        passthrough,
        primaryPort: primary.replicationPort,
        config,
      });
      await replica.start();
      replicas.push(replica);
    }
    return { cluster, primary, replica: replicas[0], replicas };
  } catch (error) {
    await cluster.close();
    throw error;
  }
}

/** Resolves when the condition holds; rejects with `what` after a while. */
export async function until(
  what: string | (() => string),
  condition: () => boolean | Promise<boolean>,
  waitMs = WAIT_MS_MAX,
): Promise<void> {
  const startedMs = performance.now();
  while (!(await condition())) {
    if (performance.now() - startedMs > waitMs) {
      throw new Error(`not within ${waitMs} ms: ${typeof what === 'string' ? what : what()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Resolves when both mounts show the same position of the database, the primary's present one. */
export async function inSync(
  primary: TestNode,
  replica: TestNode,
  database: string,
): Promise<void> {
  let ours = '';
  let theirs = '';
  await until(
    () =>
      `${database}: primary ${ours}, ${replica.name} ${theirs}\n${primary.logText()}\n${replica.logText()}`,
    async () => {
      [ours, theirs] = [await primary.position(database), await replica.position(database)];
      return ours === theirs;
    },
  );
}

/**
 * Ports below those that the kernel gives to clients, which come and go: no other test's connection takes one before
 * its daemon does. Each process of tests has a stretch of its own, also for nodes that are stopped just now.
 */
const PORTS_FROM = 21_000;
const STRETCHES = 200;
const STRETCH = 50;
let ownStretch: Promise<number> | undefined;
let portsTaken = 0;

export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  ownStretch ??= claimStretch();
  const from = PORTS_FROM + (await ownStretch) * STRETCH;
  while (ports.length < count) {
    const port = from + (portsTaken++ % STRETCH);
    if (await isFree(port)) ports.push(port);
  }
  return ports;
}

/** By a name of the machine that goes with this process. */
async function claimStretch(): Promise<number> {
  for (let i = 0; i < STRETCHES; i++) {
    const stretch = (process.pid + i) % STRETCHES;
    const claim = net.createServer().unref();
    const listening = once(claim, 'listening');
    claim.listen(`\0litefs-lite-test-ports-${stretch}`);
    try {
      await listening;
      return stretch;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    }
  }
  throw new Error('all ports for tests are taken');
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.on('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
