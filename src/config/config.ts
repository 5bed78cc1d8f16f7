/**
 * The configuration as the program uses it: defaults filled in, units in the names, addresses
 * parsed, paths absolute; and the rules that concern more than one field.
 */
import { resolve, sep } from 'node:path';
import { DATA_FOLDERS } from '../data-folders.ts';
import { type ProxyConfig, resolveProxy } from './proxy.ts';
import type { ConfigFile } from './schema.ts';
import { secretProblems } from './secrets.ts';
import { resolveSnapshots, type SnapshotConfig } from './snapshots.ts';
import { type Address, formatAddress, isLoopback } from './values.ts';

export interface ExecCommand {
  /** Program and arguments, at least one word. */
  readonly argv: readonly string[];
  /** Run it only when lease.candidate is true. */
  readonly ifCandidate: boolean;
  /** As whom, each by name or number; undefined: as the daemon, and as the user's group. */
  readonly user: string | undefined;
  readonly group: string | undefined;
  /** More of its environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Whether it gets next to nothing of the daemon's. */
  readonly cleanEnv: boolean;
}

export interface Config {
  /** false: stay up after an error at start. */
  readonly exitOnError: boolean;
  readonly skipSync: boolean;
  readonly strictVerify: boolean;
  /** In which each page is compared with its checksum once, ms; 0 for never. */
  readonly verifyPeriodMs: number;
  /** In order; each but the last must succeed, the last one stays. Empty: nothing to run. */
  readonly exec: readonly ExecCommand[];
  readonly data: {
    readonly dir: string;
    readonly compress: boolean;
    readonly retentionMs: number;
    /** Per database; 0: no limit. */
    readonly retentionBytes: number;
    readonly retentionMonitorIntervalMs: number;
  };
  readonly fuse: {
    readonly dir: string;
    readonly allowOther: boolean;
    readonly debug: boolean;
    readonly passthrough: 'auto' | 'on' | 'off';
    readonly waitForOldHandlesMs: number;
    /** To whom databases belong on a replica: a user, a group or a mode instead of the primary's. */
    readonly ownership: { readonly user?: string; readonly group?: string; readonly mode?: number };
  };
  readonly http: {
    readonly addr: Address;
    /** undefined: by the port (socketAt). */
    readonly socket: string | undefined;
    /** More names by which it is asked. */
    readonly hosts: readonly string[];
    /** What shows the status at the port; undefined: nothing is needed for that. As the file has it, or what statusTokenFile holds. */
    readonly statusToken: string | undefined;
    /** An absolute path. */
    readonly statusTokenFile: string | undefined;
  };
  readonly replication: {
    readonly addr: Address;
    /** Where a replica connects to; always known on one, on the primary when the file says it. */
    readonly primary: { readonly host: string; readonly port: number } | undefined;
    /** As the file has it, or what secretFile holds. */
    readonly secret: string | undefined;
    /** An absolute path. */
    readonly secretFile: string | undefined;
  };
  readonly lease: {
    /** As in the file; undefined means the name of the machine. */
    readonly hostname: string | undefined;
    readonly advertiseUrl: string | undefined;
    /** true: this node is the primary. */
    readonly candidate: boolean;
    readonly reconnectDelayMs: number;
    /** undefined: all. */
    readonly databases: readonly string[] | undefined;
  };
  /** undefined: none runs. */
  readonly proxy: ProxyConfig | undefined;
  /** undefined: none are cut. */
  readonly snapshots: SnapshotConfig | undefined;
  readonly log: {
    readonly format: 'auto' | 'text' | 'json';
    readonly timestamp: boolean;
    readonly debug: boolean;
  };
}

/** What is wrong with the file at a path of keys: a sentence without its subject. */
export interface ConfigProblem {
  readonly path: readonly PropertyKey[];
  /** Whether the key or its value is to blame. */
  readonly at: 'key' | 'value';
  readonly text: string;
}

/** The typed configuration. Relative directories are relative to `cwd`. */
export function resolveConfig(file: ConfigFile, cwd: string): Config {
  const { data, fuse, lease, replication } = file;
  const advertised = lease['advertise-url'];
  return {
    exitOnError: file['exit-on-error'],
    skipSync: file['skip-sync'],
    strictVerify: file['strict-verify'],
    verifyPeriodMs: file.verify.background,
    exec: file.exec.map((entry) => ({
      argv: entry.cmd,
      ifCandidate: entry['if-candidate'],
      user: entry.user,
      group: entry.group,
      env: { ...entry.env },
      cleanEnv: entry['clean-env'] ?? entry.user !== undefined,
    })),
    data: {
      dir: resolve(cwd, data.dir),
      compress: data.compress,
      retentionMs: data.retention,
      retentionBytes: data['retention-bytes'],
      retentionMonitorIntervalMs: data['retention-monitor-interval'],
    },
    fuse: {
      dir: resolve(cwd, fuse.dir),
      allowOther: fuse['allow-other'],
      debug: fuse.debug,
      passthrough: fuse.passthrough,
      waitForOldHandlesMs: fuse['wait-for-old-handles'],
      ownership: { ...fuse['replica-owner'], mode: fuse['replica-mode'] },
    },
    http: {
      addr: file.http.addr,
      socket: file.http.socket,
      hosts: file.http.hosts,
      statusToken: file.http['status-token'],
      statusTokenFile: file.http['status-token-file'],
    },
    replication: {
      addr: replication.addr,
      primary:
        replication.primary ??
        (advertised === undefined
          ? undefined
          : { host: hostOf(advertised), port: replication.addr.port }),
      secret: replication.secret,
      secretFile: replication['secret-file'],
    },
    lease: {
      hostname: lease.hostname,
      advertiseUrl: advertised,
      candidate: lease.candidate,
      reconnectDelayMs: lease['reconnect-delay'],
      databases: lease.databases,
    },
    proxy: resolveProxy(file.proxy),
    snapshots: resolveSnapshots(file.snapshots, (dir) => resolve(cwd, dir)),
    log: file.log,
  };
}

/** The host of a URL that parsed; an IPv6 address without its brackets. */
function hostOf(url: string): string {
  return new URL(url).hostname.replace(/^\[|\]$/g, '');
}

/** Contradictions between fields that are each right by themselves. */
export function contradictions(file: ConfigFile, config: Config): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const blame = (path: string, text: string) =>
    problems.push({ path: path.split('.'), at: 'value', text });

  if (!config.lease.candidate && config.replication.primary === undefined) {
    blame(
      'lease.candidate',
      'is false, so this node is a replica and must know its primary: write ' +
        'lease.advertise-url: "http://<primary>:20202", or replication.primary: "<primary>:20204"',
    );
  } else if (!config.lease.candidate && config.replication.primary?.port === 0) {
    blame(
      'replication.addr',
      'has port 0, which cannot be the primary\'s: write replication.primary: "<primary>:20204"',
    );
  }

  if (!config.lease.candidate && namesItself(config.replication)) {
    const { primary, addr } = config.replication;
    const where = formatAddress(primary as Address);
    blame(
      file.replication.primary ? 'replication.primary' : 'lease.advertise-url',
      `leads to ${where}, which is this node itself (replication.addr is ${formatAddress(addr)}): name the primary`,
    );
  }

  problems.push(...secretProblems(file, config));

  if (config.fuse.dir === config.data.dir) {
    blame('fuse.dir', `is the same as data.dir (${config.data.dir}): give each its own directory`);
  } else if (isInside(config.fuse.dir, config.data.dir)) {
    blame('fuse.dir', `lies in data.dir (${config.data.dir}): mount somewhere outside of it`);
  }

  for (const [at, { user, group }] of file.exec.entries()) {
    if (group === undefined || user !== undefined) continue;
    problems.push({ path: ['exec', at, 'group'], at: 'value', text: 'needs user beside it' });
  }

  const archives = config.snapshots?.dir;
  if (archives !== undefined) {
    const isTaken = DATA_FOLDERS.some((name) =>
      isInside(`${archives}${sep}`, resolve(config.data.dir, name)),
    );
    if (isInside(`${archives}${sep}`, config.fuse.dir)) {
      blame('snapshots.dir', `lies in the mount (${config.fuse.dir}): keep snapshots elsewhere`);
    } else if (isTaken || archives === config.data.dir) {
      blame(
        'snapshots.dir',
        `has other files of data.dir (${config.data.dir}): keep snapshots elsewhere`,
      );
    }
  }

  const listeners: [string, Address | undefined][] = [
    ['http.addr', config.http.addr],
    ['replication.addr', config.replication.addr],
    ['proxy.addr', file.proxy.addr],
  ];
  for (const [index, [name, address]] of listeners.entries()) {
    const other = listeners.slice(0, index).find(([, earlier]) => clash(earlier, address));
    if (other && address) {
      blame(name, `${formatAddress(address)} is taken by ${other[0]}: give each its own port`);
    }
  }

  if (file.proxy.addr) {
    for (const needed of ['target', 'db'] as const) {
      if (file.proxy[needed] === undefined) {
        blame('proxy.addr', `needs proxy.${needed} beside it`);
      }
    }
  }
  const { advertise, 'on-write': onWrite, 'on-stale': onStale } = file.proxy;
  const isForBrowsersOnly = onWrite === 'redirect' && onStale === '504';
  if (advertise?.startsWith('https:') && !isForBrowsersOnly) {
    blame(
      'proxy.advertise',
      'is https, and nodes forward by plain HTTP: write "http://<this node>:<port of addr>"; ' +
        'or on-write: redirect and on-stale: "504", so that only browsers go there',
    );
  }
  return problems;
}

/** What may be meant otherwise than it is written, each a sentence for the log. */
export function doubts(file: ConfigFile): string[] {
  const { primary } = file.replication;
  const advertised = file.lease['advertise-url'];
  if (file.lease.candidate || primary === undefined || advertised === undefined) return [];
  const host = hostOf(advertised);
  if (host === primary.host) return [];
  return [
    `replication.primary leads to ${primary.host}, lease.advertise-url to ${host}: this replica follows the former`,
  ];
}

/** As far as the config alone tells: by the same host, or by loopback. */
function namesItself({ primary, addr }: Config['replication']): boolean {
  if (primary === undefined || primary.port !== addr.port) return false;
  return addr.host === undefined ? isLoopback(primary.host) : addr.host === primary.host;
}

/** Whether a path lies below a directory, by their names alone. */
export function isInside(path: string, directory: string): boolean {
  return path.startsWith(directory.endsWith(sep) ? directory : directory + sep);
}

/** Whether two listeners cannot exist together: one port, and one host or no host. */
function clash(a: Address | undefined, b: Address | undefined): boolean {
  if (!a || !b || a.port === 0 || a.port !== b.port) return false;
  return a.host === undefined || b.host === undefined || a.host === b.host;
}
