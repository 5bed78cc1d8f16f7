/**
 * `litefs-lite run`: runs a command where it belongs, on the primary or a candidate for it, and nowhere else; or where
 * it is, with the right to write a database of a replica (the halt lock) as long as it runs.
 */

import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { constants } from 'node:os';
import path from 'node:path';
import { errorText, LiteFsError } from '../errors.ts';
import type { HaltReport, NodeReport } from '../http/info.ts';
import { deleteJson, getJson, postJson } from './client.ts';
import { type NodeAddress, type NodeFlags, nodeAt } from './node-url.ts';
import { printError } from './print.ts';

interface Flags extends NodeFlags {
  readonly ifCandidate?: boolean;
  readonly ifPrimary?: boolean;
  readonly withHaltLockOn?: string;
}

/** The lock lasts 10 s: a request may fail in between. */
const RENEW_MS = 3000;
const ID_MAX = 2 ** 47;
const SIGNALED = 128;
const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** The command's exit status; 0 when it is not for this node. */
export async function run(command: readonly string[], flags: Flags): Promise<number> {
  const asked = nodeAt(flags);
  const node = await getJson<NodeReport>(asked, '/info');
  const reason = whyNotHere(node, flags);
  if (reason) {
    printError(`not run: ${reason}`);
    return 0;
  }
  const environment = {
    LITEFS_DIR: node.path,
    LITEFS_PRIMARY: node.primary.hostname ?? '',
    LITEFS_IS_PRIMARY: `${node.isPrimary}`,
  };
  const { withHaltLockOn } = flags;
  if (withHaltLockOn === undefined) return runCommand(command, environment);
  return withHaltLock(asked, databaseOf(withHaltLockOn, node.path), () =>
    runCommand(command, environment),
  );
}

/** The name of the database at a path in the mount; a name is taken as it is. Throws USAGE. */
function databaseOf(file: string, mountDir: string): string {
  const relative = path.relative(mountDir, path.resolve(file));
  if (relative !== '' && relative !== '..' && !relative.startsWith('../')) return relative;
  if (!path.isAbsolute(file)) return file;
  throw new LiteFsError('USAGE', `${file} is not in the mount of the node, ${mountDir}`);
}

/** Takes the lock, keeps it while `work` runs, and gives it back. */
async function withHaltLock(
  node: NodeAddress,
  database: string,
  work: () => Promise<number>,
): Promise<number> {
  const query = `/halt?name=${encodeURIComponent(database)}&id=${randomInt(1, ID_MAX)}`;
  const warn = (error: unknown) => printError(errorText(error));
  await postJson<HaltReport>(node, query);
  let warned = false;
  const timer = setInterval(() => {
    postJson<HaltReport>(node, query).catch((error) => {
      // Its next commit fails; what it does about that is its own business.
      if (!warned) warn(error);
      warned = true;
    });
  }, RENEW_MS);
  let status: number;
  try {
    status = await work();
  } catch (error) {
    await deleteJson(node, query).catch(warn);
    throw error;
  } finally {
    clearInterval(timer);
  }
  try {
    await deleteJson<HaltReport>(node, query);
  } catch (error) {
    if (status === 0) throw error;
    warn(error);
  }
  return status;
}

function whyNotHere(node: NodeReport, { ifCandidate, ifPrimary }: Flags): string | undefined {
  if (ifPrimary && !node.isPrimary) return `${node.hostname} is not the primary`;
  if (ifCandidate && !node.candidate) return `${node.hostname} is no candidate (lease.candidate)`;
  return undefined;
}

function runCommand(
  [program, ...args]: readonly string[],
  environment: Record<string, string>,
): Promise<number> {
  const child = spawn(program, args, {
    stdio: 'inherit',
    env: { ...process.env, ...environment },
  });
  const handlers = FORWARDED.map((signal) => [signal, () => child.kill(signal)] as const);
  for (const [signal, handler] of handlers) process.on(signal, handler);
  return new Promise<number>((resolve, reject) => {
    child.on('error', (error) => {
      reject(new LiteFsError('USAGE', `cannot run ${program}: ${errorText(error)}`));
    });
    child.on('exit', (code, signal) => {
      resolve(code ?? SIGNALED + constants.signals[signal ?? 'SIGKILL']);
    });
  }).finally(() => {
    for (const [signal, handler] of handlers) process.off(signal, handler);
  });
}
