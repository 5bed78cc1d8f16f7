/**
 * `litefs-lite doctor`: looks at everything that must be right for a node to run, and says what is not. It changes
 * nothing, here or on the primary. The checks are in doctor/, as functions of the facts that are gathered here.
 */

import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import type { Config } from '../config/config.ts';
import { type Address, socketAt } from '../config/values.ts';
import { errorText, LiteFsError } from '../errors.ts';
import { GROUP } from '../http/authorization.ts';
import type { NodeReport } from '../http/info.ts';
import { holdingOf } from '../lease/holding.ts';
import type { PeerFacts } from '../lease/judge.ts';
import { membershipAtStart } from '../lease/membership.ts';
import { groupId } from '../os/groups.ts';
import { listenersAt } from '../os/listeners.ts';
import { isDeadMount, mountAt } from '../os/mounts.ts';
import { greet } from '../replication/greet.ts';
import { isPlaceLost } from '../snapshots/place.ts';
import { layoutOf } from '../store/layout.ts';
import { VERSION } from '../version.ts';
import { openRequest, readJson } from './client.ts';
import { checkArchives } from './doctor/archives.ts';
import { type Finding, fail, formatFindings, ok } from './doctor/finding.ts';
import {
  checkAllowOther,
  checkFuseDevice,
  checkKernel,
  checkPrivileges,
} from './doctor/machine.ts';
import { checkAbsentNode, checkForeignNode, checkNode } from './doctor/node.ts';
import { checkPort, checkSocket, type Port } from './doctor/ports.ts';
import {
  checkClock,
  checkPrimary,
  checkUpstream,
  checkVersion,
  clockAhead,
} from './doctor/primary.ts';
import {
  checkFileSystem,
  checkInotify,
  checkMountPoint,
  checkSpace,
  type MountPoint,
} from './doctor/storage.ts';
import { type NodeAddress, nodeElsewhere, ownConfig, urlOf } from './node-url.ts';
import { printJson, printText } from './print.ts';

const ANSWER_MS_MAX = 5000;

/** 0: nothing failed; 1: something did. */
export async function doctor(flags: {
  readonly config?: string;
  readonly json?: boolean;
}): Promise<number> {
  const findings = await examine(flags.config);
  const well = findings.every(({ verdict }) => verdict !== 'fail');
  if (flags.json) printJson({ ok: well, findings });
  else printText(formatFindings(findings));
  return well ? 0 : 1;
}

async function examine(file: string | undefined): Promise<Finding[]> {
  let loaded: ReturnType<typeof ownConfig>;
  try {
    loaded = ownConfig(file);
  } catch (error) {
    if (!(error instanceof LiteFsError)) throw error;
    const hint =
      error.hint ?? 'litefs-lite config check says more; litefs-lite init writes a new one.';
    return [fail('config', error.message, hint), ...machine('auto')];
  }
  const { config } = loaded;
  const role = config.lease.candidate ? 'the primary' : 'a replica';
  const url = urlOf(config.http.addr);
  const socket = socketAt(config.http, config.http.addr.port);
  const node = { url, isNamed: false, socket: () => socket, secret: undefined };
  const { report: answered, why } = await reportOf(node);
  const isOurs = answered?.path === realPath(config.fuse.dir);
  const report = isOurs ? answered : undefined;
  return [
    ok('config', `${loaded.file} is right, and makes this node ${role}`),
    ...machine(config.fuse.passthrough),
    checkAllowOther(config.fuse.allowOther, textOf('/etc/fuse.conf')),
    ...storage(config, report),
    ...archives(config),
    ...(await ports(config, report)),
    ...(report ? [await socketFinding(socket), ...checkNode(report, VERSION)] : []),
    ...(answered && !isOurs ? [checkForeignNode(url, config.fuse.dir, answered)] : []),
    ...(answered ? [] : [checkAbsentNode(url, why)]),
    ...(config.lease.candidate ? [] : await primary(config, report)),
  ];
}

function machine(passthrough: Config['fuse']['passthrough']): Finding[] {
  return [
    checkKernel(os.release(), passthrough),
    checkFuseDevice(failureOf(() => fs.closeSync(fs.openSync('/dev/fuse', 'r+')))),
    checkPrivileges(textOf('/proc/self/status'), process.getuid?.() ?? -1),
  ];
}

function storage({ data, fuse }: Config, report: NodeReport | undefined): Finding[] {
  const existing = nearestExisting(data.dir);
  const { bavail, blocks, bsize, type } = fs.statfsSync(existing);
  const volume = { freeBytes: bavail * bsize, bytes: blocks * bsize, type };
  const limit = (name: string) => Number(textOf(`/proc/sys/fs/inotify/${name}`));
  return [
    checkSpace(data.dir, volume),
    checkFileSystem(data.dir, volume),
    checkInotify({
      watches: limit('max_user_watches'),
      instances: limit('max_user_instances'),
      error: failureOf(() => fs.watch(existing).close()),
    }),
    checkMountPoint(fuse.dir, mountPoint(fuse.dir, data.dir), report !== undefined),
  ];
}

function archives({ snapshots, lease, data }: Config): Finding[] {
  const role = lease.candidate ? 'primary' : 'replica';
  if (!snapshots || (snapshots.on !== 'any' && snapshots.on !== role)) return [];
  const { dir } = snapshots;
  let isLost = false;
  const error = failureOf(() => {
    isLost = isPlaceLost(dir, layoutOf(data.dir).archives);
  });
  const exists = fs.existsSync(dir);
  // It is made, but not what lies above it: that may be a mount that is not there.
  const written = exists ? dir : path.dirname(dir);
  const refused = failureOf(() => {
    fs.accessSync(written, fs.constants.W_OK | fs.constants.X_OK);
    fs.readdirSync(written);
  });
  return [checkArchives(dir, { exists, isLost, error: error ?? refused })];
}

/** Asks nothing of a mount's daemon: a directory is read only when nothing is mounted there. */
function mountPoint(dir: string, dataDir: string): MountPoint {
  if (isDeadMount(dir)) return { dead: true, mounted: undefined, names: undefined };
  if (!fs.existsSync(dir)) return { dead: false, mounted: undefined, names: undefined };
  const real = fs.realpathSync(dir);
  const mounted = mountAt(real);
  if (mounted?.fsType.startsWith('fuse')) {
    return { dead: false, mounted: mounted.source, names: undefined };
  }
  const [allowed] = path.relative(real, dataDir).split(path.sep);
  const names = fs.readdirSync(real).filter((name) => name !== allowed);
  return { dead: false, mounted: undefined, names };
}

async function ports(config: Config, report: NodeReport | undefined): Promise<Finding[]> {
  const listeners: [string, Address | undefined][] = [
    ['http.addr', config.http.addr],
    ['replication.addr', config.replication.addr],
    ['proxy.addr', config.proxy?.addr],
  ];
  const findings: Finding[] = [];
  for (const [field, address] of listeners) {
    // Port 0 is any that is free.
    if (address === undefined || address.port === 0) continue;
    const error = await listenFailure(address);
    const port: Port = { field, address, error, holders: error ? listenersAt(address.port) : [] };
    findings.push(checkPort(port, report?.pid));
  }
  return findings;
}

/** Of a node that runs. */
function socketFinding(file: string): Promise<Finding> {
  const socket = net.connect(file);
  return new Promise<Finding>((resolve) => {
    const found = (error?: string) =>
      resolve(checkSocket({ file, error, hasGroup: groupId(GROUP) !== undefined }));
    socket.on('connect', () => found());
    socket.on('error', (error: NodeJS.ErrnoException) => found(error.code ?? error.message));
  }).finally(() => socket.destroy());
}

async function primary(config: Config, report: NodeReport | undefined): Promise<Finding[]> {
  const target = config.replication.primary as { host: string; port: number };
  const { secret } = config.replication;
  const outcome = await greet({
    target,
    secret,
    random: randomBytes,
    timeoutMs: ANSWER_MS_MAX,
  }).catch((error) => {
    if (error instanceof LiteFsError) return error;
    throw error;
  });
  const where = `${target.host}:${target.port}`;
  const findings = checkPrimary(where, outcome, ownFacts(config.data.dir));
  if (outcome instanceof LiteFsError) return findings;
  const asked = await askPrimary(config.lease.advertiseUrl);
  const isWelcome = findings.every(({ verdict }) => verdict !== 'fail');
  return [
    ...findings,
    ...(isWelcome && report?.upstream ? checkUpstream(report.upstream) : []),
    checkClock(report?.upstream?.clockAheadMs ?? asked?.aheadMs),
    checkVersion(VERSION, outcome.server?.release || asked?.version),
  ];
}

/** What the primary's API says, when it is open to us. */
async function askPrimary(url: string | undefined) {
  if (url === undefined) return undefined;
  try {
    const sentMs = Date.now();
    const signal = AbortSignal.timeout(ANSWER_MS_MAX);
    const response = await openRequest('GET', nodeElsewhere(url), '/info', { signal });
    const aheadMs = clockAhead(response.headers.date ?? null, sentMs, Date.now());
    const { version, isPrimary } = await readJson<NodeReport>(response, url);
    return isPrimary ? { aheadMs, version } : undefined;
  } catch {
    return undefined;
  }
}

/** Who this node is when it starts, by its node.json and what it holds; undefined before its first start. */
function ownFacts(dataDir: string): PeerFacts | undefined {
  const layout = layoutOf(dataDir);
  let stored: Pick<PeerFacts, 'nodeId' | 'clusterId' | 'term'>;
  try {
    stored = JSON.parse(textOf(layout.node)) as typeof stored;
  } catch {
    return undefined;
  }
  const role = 'replica';
  const membership = membershipAtStart(stored, { role, holding: holdingOf(layout) }, () => '');
  return { nodeId: stored.nodeId, ...membership, role, hostname: os.hostname() };
}

async function reportOf(
  node: NodeAddress,
): Promise<{ report: NodeReport | undefined; why: string }> {
  try {
    const signal = AbortSignal.timeout(ANSWER_MS_MAX);
    const response = await openRequest('GET', node, '/info', { signal });
    return { report: await readJson<NodeReport>(response, node.url), why: '' };
  } catch (error) {
    return { report: undefined, why: errorText(error) };
  }
}

function listenFailure({ host, port }: Address): Promise<string | undefined> {
  const server = net.createServer();
  return new Promise((resolve) => {
    server.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen(port, host, () => server.close(() => resolve(undefined)));
  });
}

function realPath(dir: string): string {
  // A dead mount has no real path.
  return failureOf(() => fs.realpathSync(dir)) === undefined ? fs.realpathSync(dir) : dir;
}

function nearestExisting(dir: string): string {
  let at = path.resolve(dir);
  while (!fs.existsSync(at)) at = path.dirname(at);
  return at;
}

function failureOf(attempt: () => void): string | undefined {
  try {
    attempt();
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? errorText(error);
  }
}

function textOf(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
