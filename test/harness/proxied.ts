/** A cluster of nodes that each have an application, and a proxy in front of it. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { Cluster, freePorts, type TestNode } from './cluster.ts';
import { memoryFolder } from './memory.ts';

const WEB_APP = path.resolve(import.meta.dirname, 'web-app.ts');
export const DATABASE = 'app.db';

/** An application, which ends with the test's process at the latest. */
export class App {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Runs a command, and resolves when it says `listening`. */
  static async start(command: readonly string[], environment: NodeJS.ProcessEnv): Promise<App> {
    const [program, ...args] = command;
    const child = spawn(program, args, {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, ...environment },
    });
    const said = once(child.stdout, 'data');
    const ended = once(child, 'exit').then(([status]) => {
      throw new Error(`${command.join(' ')} ended with ${status}`);
    });
    await Promise.race([said, ended]);
    ended.catch(() => {});
    return new App(child);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }
}

export class ProxiedNode {
  readonly node: TestNode;
  readonly port: number;
  readonly appPort: number;
  readonly #command: readonly string[];
  readonly #environment: NodeJS.ProcessEnv;
  #app: App | undefined;

  constructor(node: TestNode, ports: [number, number], command: readonly string[]) {
    this.node = node;
    [this.port, this.appPort] = ports;
    this.#command = command;
    this.#environment = {
      LITEFS_DIR: node.mount,
      DATABASE_FILENAME: DATABASE,
      PORT: `${this.appPort}`,
      ...(node.settings.candidate ? { PRIMARY: '1' } : {}),
    };
  }

  async startApp(): Promise<void> {
    const words = this.#command.map((word) =>
      word.replace('DATABASE', this.node.file(DATABASE)).replace('PORT', `${this.appPort}`),
    );
    this.#app = await App.start(words, this.#environment);
  }

  async stopApp(): Promise<void> {
    await this.#app?.stop();
  }
}

export interface ProxiedOptions {
  readonly replicas?: number;
  /** More of the section `proxy`, for all. */
  readonly proxy?: Record<string, unknown>;
  /** The same, for each replica. */
  readonly replicaProxy?: Record<string, unknown>;
  /** More sections of the config file, for all. */
  readonly config?: Record<string, unknown>;
  /** The application's command: DATABASE and PORT in it are replaced; by default web-app.ts. */
  readonly command?: (hostname: string) => readonly string[];
  /** A port that leads to the primary's replication port, in place of that. */
  readonly link?: (primaryPort: number) => Promise<number>;
  readonly skipApps?: boolean;
}

export class ProxiedCluster {
  readonly cluster: Cluster;
  readonly nodes: readonly ProxiedNode[];

  private constructor(cluster: Cluster, nodes: readonly ProxiedNode[]) {
    this.cluster = cluster;
    this.nodes = nodes;
  }

  get primary(): ProxiedNode {
    return this.nodes[0];
  }

  get replica(): ProxiedNode {
    assert(this.nodes.length > 1);
    return this.nodes[1];
  }

  get ports(): readonly number[] {
    return this.nodes.map(({ port }) => port);
  }

  static async start(options: ProxiedOptions = {}): Promise<ProxiedCluster> {
    const cluster = new Cluster(memoryFolder());
    const nodes: ProxiedNode[] = [];
    const started = new ProxiedCluster(cluster, nodes);
    try {
      let primaryPort: number | undefined;
      for (let i = 0; i <= (options.replicas ?? 1); i++) {
        const [port, appPort] = await freePorts(2);
        const hostname = i === 0 ? 'box-primary' : `box-replica-${i}`;
        const node = await cluster.add(hostname, {
          candidate: i === 0,
          passthrough: 'auto',
          primaryPort,
          config: {
            ...options.config,
            lease: { hostname },
            proxy: {
              addr: `127.0.0.1:${port}`,
              target: `127.0.0.1:${appPort}`,
              db: DATABASE,
              ...options.proxy,
              ...(i === 0 ? {} : options.replicaProxy),
            },
          },
        });
        const command = options.command?.(hostname) ?? [
          process.execPath,
          WEB_APP,
          'DATABASE',
          'PORT',
        ];
        const proxied = new ProxiedNode(node, [port, appPort], command);
        nodes.push(proxied);
        await node.start();
        if (!options.skipApps) await proxied.startApp();
        primaryPort ??= (await options.link?.(node.replicationPort)) ?? node.replicationPort;
      }
      return started;
    } catch (error) {
      await started.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stopApp()));
    await this.cluster.close();
  }
}
