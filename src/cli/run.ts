/** `litefs-lite run`: runs a command where it belongs, on the primary or a candidate for it, and nowhere else. */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { errorText, LiteFsError } from '../errors.ts';
import type { NodeReport } from '../http/info.ts';
import { getJson } from './client.ts';

interface Flags {
  readonly url: string;
  readonly ifCandidate?: boolean;
  readonly ifPrimary?: boolean;
}

const SIGNALED = 128;
const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** The command's exit status; 0 when it is not for this node. */
export async function run(command: readonly string[], flags: Flags): Promise<number> {
  const node = await getJson<NodeReport>(flags.url, '/info');
  const reason = whyNotHere(node, flags);
  if (reason) {
    process.stderr.write(`litefs-lite: not run: ${reason}\n`);
    return 0;
  }
  return runCommand(command, {
    LITEFS_DIR: node.path,
    LITEFS_PRIMARY: node.primary.hostname ?? '',
    LITEFS_IS_PRIMARY: `${node.isPrimary}`,
  });
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
