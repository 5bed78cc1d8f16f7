/**
 * A running node, from start to stop: the story in the order in which it happens. What each part does
 * is in its own folder; here they are made, connected, and taken down again.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { Config } from '../config/config.ts';
import { socketAt } from '../config/values.ts';
import { errorText, LiteFsError } from '../errors.ts';
import { GROUP } from '../http/authorization.ts';
import { apiRoutes } from '../http/routes.ts';
import { type HttpServer, startHttpServer } from '../http/server.ts';
import { holdingOf } from '../lease/holding.ts';
import { NodeIdentity } from '../lease/node-identity.ts';
import type { Logger } from '../log.ts';
import { LAG_FILE } from '../mount/names.ts';
import { SystemAccounts } from '../os/accounts.ts';
import { keepMemorySmall } from '../os/allocator.ts';
import { exitNow } from '../os/exit.ts';
import { groupId } from '../os/groups.ts';
import type { Answered, RunningProxy } from '../proxy/server.ts';
import { nameText } from '../store/layout.ts';
import { Api } from './api.ts';
import { type App, appsOf } from './apps.ts';
import { Crash, type CrashWatch, EXIT_SOFTWARE, tellBug, watchForCrash } from './crash.ts';
import { type DataDir, openDataDir } from './data-dir.ts';
import { guardMountPoint, prepareMountPoint } from './mount-point.ts';
import { waitForOldHandles } from './old-handles.ts';
import { forgetOwn } from './own-environment.ts';
import { mountDevice, type OwnMount } from './own-mount.ts';
import { isOwnName } from './own-names.ts';
import { startNodeProxy } from './proxy.ts';
import { checkReplicaOwner } from './replica-owner.ts';
import { Replication } from './replication.ts';
import { ServiceManager } from './service-manager.ts';
import { Snapshots } from './snapshots.ts';
import { statusLine } from './status-line.ts';
import { Signal, type StopSignals, stopSignals } from './stop-signals.ts';
import { Supervisor } from './supervise.ts';
import { type EngineThread, type MountThread, startEngine, startMount } from './threads.ts';

export interface NodeOptions {
  readonly log: Logger;
  /** An app to run in place of config.exec. */
  readonly command?: readonly string[];
  /** Leave the mount alone at the end. */
  readonly skipUnmount?: boolean;
  /** Stops the node, as SIGTERM does; a second abort cannot be. */
  readonly stop?: AbortSignal;
  /** Told when the node is primary, or in sync. */
  readonly onReady?: (node: { httpPort: number; replicationPort: number }) => void;
}

/** What has been started, in order; it is taken down in the opposite one. */
interface Running {
  dataDir?: DataDir;
  engine?: EngineThread;
  api?: Api;
  http?: HttpServer;
  proxy?: RunningProxy;
  replication?: Replication;
  snapshots?: Snapshots;
  /** Open until the mount's thread has a descriptor of its own. */
  device?: number;
  own?: OwnMount;
  mount?: MountThread;
}

/**
 * Runs a node until it is told to stop, its app ends, or something essential fails. Resolves with the exit
 * status. Throws LiteFsError when it cannot start; nothing is left behind then.
 */
export async function runNode(config: Config, options: NodeOptions): Promise<number> {
  const { log } = options;
  keepMemorySmall();
  const running: Running = {};
  const crash = watchForCrash(log);
  const stopping = stopSignals(options.stop, log);
  const manager = new ServiceManager(process.env, process.pid, log);
  forgetOwn(process.env, [config.replication.secret, config.http.statusToken]);
  stopping.requested.then(() => manager.stopping());
  let status = EXIT_SOFTWARE;
  let ended = false;
  try {
    status = await startAndServe(config, options, running, { stopping, crash }, manager);
    ended = true;
    return crash.hasCrashed ? EXIT_SOFTWARE : status;
  } finally {
    manager.stopping();
    await takeDown(running, options, stopping.force);
    stopping.dispose();
    crash.dispose();
    // After an error the last word is why.
    if (ended) log.info('stopped');
    if (running.snapshots?.isStuck) exitNow(crash.hasCrashed ? EXIT_SOFTWARE : status);
  }
}

/** What ends the node from outside its threads. */
interface Ends {
  readonly stopping: StopSignals;
  readonly crash: CrashWatch;
}

async function startAndServe(
  config: Config,
  options: NodeOptions,
  running: Running,
  ends: Ends,
  manager: ServiceManager,
): Promise<number> {
  const { log } = options;
  const role = config.lease.candidate ? 'primary' : 'replica';
  if (role === 'replica') checkReplicaOwner(config.fuse.ownership, new SystemAccounts());
  const apps = appsOf(config, options.command);

  // Ours alone: the data directory.
  const mountDir = prepareMountPoint(config.fuse.dir, config.data.dir, log);
  const dataDir = openDataDir(config.data.dir, mountDir);
  running.dataDir = dataDir;
  guardMountPoint(mountDir, config.data.dir, log);

  const oldHandlesMs = config.fuse.waitForOldHandlesMs;
  manager.starting('looking for applications of a former life', oldHandlesMs);
  // No app of a former life may still write to the files that we are about to read.
  await waitForOldHandles(dataDir.layout.tree, mountDir, oldHandlesMs, log);

  // Who we are, which depends on what we have.
  const holding = holdingOf(dataDir.layout);
  if (holding === 'unknown') {
    log.warn(
      `not all of ${config.data.dir} can be read: for databases in it the node keeps its cluster`,
    );
  }
  const identity = NodeIdentity.load(dataDir.layout.node, {
    role,
    hostname: ownHostname(config),
    advertiseUrl: config.lease.advertiseUrl,
    holding,
  });
  manager.starting('recovering the databases');

  // The engine brings every database into a known state before anybody can open one.
  const engine = startEngine(
    {
      dataDir: dataDir.layout.root,
      mountDir,
      nodeId: identity.nodeId,
      role,
      formerRole: identity.formerRole,
      compress: config.data.compress,
      strictVerify: config.strictVerify,
      verifyPeriodMs: config.verifyPeriodMs,
      retentionMs: config.data.retentionMs,
      retentionCheckMs: config.data.retentionMonitorIntervalMs,
      logBytesMax: config.data.retentionBytes,
      databases: config.lease.databases,
      ownershipOverride: config.fuse.ownership,
    },
    dataDir.layout.spool,
    log,
    (database) => manager.starting(`recovering ${nameText(database)}`),
  );
  running.engine = engine;
  await engine.recovered;
  identity.recovered();
  bindToCluster(identity, engine, log);
  manager.starting('mounting');

  // Ports before the mount: a taken one must not leave anything half-mounted.
  const replication = new Replication({ config, identity, engine, log });
  running.replication = replication;
  const replicationPort = await replication.listen();
  const scratchDir = dataDir.layout.spool;
  const { archives: placesFile, snapshotRun: runFile } = dataDir.layout;
  const snapshots = new Snapshots({
    config,
    identity,
    engine: engine.client,
    scratchDir,
    placesFile,
    runFile,
    log,
  });
  running.snapshots = snapshots;
  const api = new Api({
    config,
    identity,
    engine: engine.client,
    shared: engine.shared,
    replication,
    snapshots,
    mountDir,
    spoolDir: scratchDir,
  });
  running.api = api;
  running.http = await startHttpServer(
    {
      routes: apiRoutes(api),
      admission: {
        secret: config.replication.secret,
        statusToken: config.http.statusToken,
        uid: process.geteuid?.() ?? 0,
        gid: groupId(GROUP),
      },
      isOwnName: (name) => isOwnName(name, config),
      admitted: (what, who, isRepeated) => log[isRepeated ? 'debug' : 'info'](`${what}: ${who}`),
      answered: (route, status) => api.metrics.httpAnswered(route, status),
      failed: (what, error) =>
        log.error({ err: error }, `HTTP: ${what} failed: ${errorText(error)}`),
    },
    { ...config.http.addr, socketAt: (port) => socketAt(config.http, port) },
  );

  if (config.proxy) {
    // Whoever reaches the proxy reads them: where the status has a token they say no names.
    const isClosed = config.http.statusToken !== undefined;
    const troubles = () =>
      isClosed
        ? api
            .troubles()
            .slice(0, 1)
            .map(() => HIDDEN)
        : api.troubles();
    const parts = {
      config: config.proxy,
      secret: config.replication.secret,
      identity,
      engine: engine.client,
      replication,
      troubles,
      answered: (request: Answered) => api.metrics.proxied(request),
      log,
    };
    running.proxy = await startNodeProxy(parts);
  }

  // The mount.
  engine.shared.setPrimary(role === 'replica' ? config.lease.hostname : undefined);
  const own = mountDevice(mountDir, config.fuse.allowOther);
  const { device } = own;
  running.device = device;
  running.own = own;
  const mount = startMount(engine, {
    device,
    treeRoot: dataDir.layout.tree,
    cutsDir: dataDir.layout.cuts,
    passthrough: config.fuse.passthrough,
    debug: config.fuse.debug,
    databases: config.lease.databases,
  });
  running.mount = mount;
  const { passthrough } = await mount.started;
  // The mount's thread has a descriptor of its own, which goes with it: ours would outlive it.
  fs.closeSync(device);
  running.device = undefined;
  own.uncover();
  // The first close of a file teaches the kernel not to ask us about closing. Without that, a process that is killed
  // with files of its own mount open would wait for itself for ever.
  await fs.promises.readFile(path.join(mountDir, LAG_FILE));
  api.mounted(passthrough);
  await engine.client.call('attach', {});
  log.info(
    { dir: mountDir, role, passthrough },
    `mounted on ${mountDir} as ${role}${passthrough ? '' : ' (without passthrough: the kernel is older than 6.9, or it is off)'}`,
  );

  // Replication. systemd does not wait for the primary: a node without it serves what it has, and one that is never
  // let in would hang for ever.
  replication.start();
  manager.watch(async () => {
    await engine.client.call('info', {});
    await fs.promises.stat(path.join(mountDir, LAG_FILE));
  });
  manager.ready(() => {
    const { followers } = replication;
    return statusLine({ role, mountDir, followers, following: replication.following() });
  });
  if (role === 'replica' && !config.skipSync) {
    const synced = await Promise.race([
      replication.synced,
      ends.stopping.requested,
      ends.crash.crashed,
      engine.died,
      mount.ended,
    ]);
    if (synced !== 'synced') return endStatus(synced, log);
    log.info('in sync with the primary');
  }
  api.ready();
  snapshots.start();
  options.onReady?.({ httpPort: running.http.port, replicationPort });

  return serve(config, options, { apps, engine, mount, replication, mountDir }, ends);
}

/** From the first database on the node belongs to the cluster whose id it has, also when that database goes again. */
function bindToCluster(identity: NodeIdentity, { client }: EngineThread, log: Logger): void {
  const look = () => {
    if (client.positions().size === 0 || !identity.bind()) return;
    const how = identity.role === 'primary' ? 'is founded' : 'is joined';
    log.info(`cluster ${identity.clusterId} ${how} with the first database`);
  };
  look();
  client.onPosition(look);
}

/** Until the end: the app's, ours by a signal or a bug, or that of a thread. */
async function serve(
  config: Config,
  options: NodeOptions,
  parts: {
    apps: readonly App[];
    engine: EngineThread;
    mount: MountThread;
    replication: Replication;
    mountDir: string;
  },
  { stopping, crash }: Ends,
): Promise<number> {
  const { log } = options;
  const { apps } = parts;
  const facts = {
    LITEFS_DIR: parts.mountDir,
    LITEFS_PRIMARY: parts.replication.primaryHostname ?? '',
    LITEFS_IS_PRIMARY: `${config.lease.candidate}`,
  };
  const supervisor = new Supervisor(apps, facts, log);
  const app = apps.length > 0 ? supervisor.run() : new Promise<number>(() => {});
  const end = await Promise.race([
    app,
    stopping.requested,
    crash.crashed,
    parts.engine.died,
    parts.mount.ended,
  ]);
  if (typeof end === 'number') return end;
  if (apps.length === 0) return endStatus(end, log);
  if (end instanceof Signal) {
    supervisor.stop(end.name);
    const status = await Promise.race([app, stopping.forced]);
    if (typeof status === 'number') return status;
    log.warn('the app is killed: it was told to stop twice');
    supervisor.stop('SIGKILL');
    return app;
  }
  // Without one of our threads the app may wait for an answer that never comes: only the unmount frees it.
  const status = endStatus(end, log);
  supervisor.stop('SIGTERM');
  const grace = setTimeout(APP_GRACE_MS, undefined, { ref: false });
  if (typeof (await Promise.race([app, stopping.forced, grace])) !== 'number') {
    supervisor.stop('SIGKILL');
  }
  return status;
}

/** What the proxy says instead of what is wrong. */
const HIDDEN = 'the node is not well: litefs-lite status says why';
/** How long the app has to end by itself after one of our threads has failed. */
const APP_GRACE_MS = 10_000;

function endStatus(end: unknown, log: Logger): number {
  if (end instanceof Signal) return 0;
  if (end instanceof Crash) return EXIT_SOFTWARE;
  if (end instanceof LiteFsError) {
    log.fatal({ code: end.code }, end.hint ? `${end.message}. ${end.hint}` : end.message);
    return end.exitStatus;
  }
  if (end instanceof Error) {
    tellBug(log, end);
    return EXIT_SOFTWARE;
  }
  log.error('the file system was unmounted by somebody else');
  return EXIT_SOFTWARE;
}

/** In the opposite order of the start; every step is tried whatever became of the one before. */
async function takeDown(running: Running, options: NodeOptions, force: AbortSignal): Promise<void> {
  const { log } = options;
  const attempt = async (what: string, step: () => unknown) => {
    try {
      await step();
    } catch (error) {
      log.error(`while stopping: ${what}: ${errorText(error)}`);
    }
  };
  const { engine, mount, device, own } = running;
  await attempt('proxy', () => running.proxy?.close());
  // Before HTTP, where somebody may wait for a snapshot.
  await attempt('snapshots', () => running.snapshots?.close(force));
  await attempt('http', () => running.http?.close());
  running.api?.close();
  await attempt('replication', () => running.replication?.close());
  if (engine) await attempt('engine', () => engine.client.callIfAlive('detach', {}));
  let isUnused = own === undefined;
  if (own && !options.skipUnmount) {
    await attempt('unmount', async () => {
      isUnused = await own.release(log, force);
    });
  }
  // A detached mount would go on for those who have it open.
  mount?.stop();
  if (mount) await mount.ended;
  if (device !== undefined) await attempt('/dev/fuse', () => fs.closeSync(device));
  if (engine) {
    await attempt('engine', () => engine.client.callIfAlive('stop', { isUnused }));
    await engine.ended;
  }
  running.dataDir?.release();
}

/**
 * This node's own name. With a static lease many configs have the *primary's* name as lease.hostname on all
 * nodes, so on a replica it is taken only for `.primary`.
 */
function ownHostname(config: Config): string {
  return config.lease.candidate ? (config.lease.hostname ?? os.hostname()) : os.hostname();
}
