/** A person's own command before or after a run: to mount a disk, to tell ntfy or healthchecks, to copy with rsync. */
import { spawn } from 'node:child_process';
import { errorText, isOutsideFault } from '../errors.ts';

export interface HookResult {
  readonly ok: boolean;
  /** How it ended, and the end of what it wrote. */
  readonly text: string;
}

export interface HookLimits {
  readonly msMax: number;
  /** The node stops: it would be kept from that. */
  readonly stop: AbortSignal;
}

/** What is kept of its output: rsync -v may write a line for each file. */
const SHOWN_BYTES = 500;
/** Linux takes 128 KiB for one variable, with its name. */
const VARIABLE_BYTES_MAX = 100_000;
/** Between the request to end and the end. */
const GRACE_MS = 5000;
const STOPPED = 'the node stops';

/**
 * Runs `command` by sh, in a process group of its own, and waits for all that has its output. The whole group is ended
 * after `msMax`, or by `stop`. Long variables are cut off at the end of a line. Never rejects.
 */
export async function runHook(
  command: string,
  environment: Readonly<Record<string, string>>,
  limits: HookLimits,
): Promise<HookResult> {
  if (limits.stop.aborted) return { ok: false, text: STOPPED };
  try {
    return await run(command, environment, limits);
  } catch (error) {
    if (!isOutsideFault(error)) throw error;
    return { ok: false, text: `sh cannot be started: ${errorText(error)}` };
  }
}

function run(
  command: string,
  environment: Readonly<Record<string, string>>,
  { msMax, stop }: HookLimits,
): Promise<HookResult> {
  const variables = Object.entries(environment).map(([name, text]) => [name, shortened(text)]);
  const child = spawn('/bin/sh', ['-c', command], {
    env: { ...process.env, ...Object.fromEntries(variables) },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let said: Buffer = Buffer.alloc(0);
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      said = Buffer.concat([said, chunk.subarray(-SHOWN_BYTES)]).subarray(-SHOWN_BYTES);
    });
  }
  let reason: string | undefined;
  let kill: NodeJS.Timeout | undefined;
  const end = (why: string) => {
    if (reason !== undefined) return;
    reason = why;
    endGroup(child.pid, 'SIGTERM');
    kill = setTimeout(() => {
      endGroup(child.pid, 'SIGKILL');
      // Something that left the group may have its output.
      child.stdout.destroy();
      child.stderr.destroy();
    }, GRACE_MS);
  };
  const late = setTimeout(() => end(`ended after ${msMax / 1000} s`), msMax);
  const stopped = () => end(STOPPED);
  stop.addEventListener('abort', stopped);
  return new Promise<HookResult>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, by) => {
      const how = code === null ? `ended by ${by}` : `exit status ${code}`;
      const parts = [reason, how, said.toString('utf8').trim()];
      const text = parts.filter((part) => part !== undefined && part !== '').join(': ');
      resolve({ ok: code === 0 && reason === undefined, text });
    });
  }).finally(() => {
    clearTimeout(late);
    clearTimeout(kill);
    stop.removeEventListener('abort', stopped);
  });
}

function endGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  try {
    if (pid !== undefined) process.kill(-pid, signal);
  } catch (error) {
    // All of it has ended.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function shortened(text: string): string {
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length <= VARIABLE_BYTES_MAX) return text;
  const line = bytes.lastIndexOf('\n', VARIABLE_BYTES_MAX);
  return `${bytes.toString('utf8', 0, line > 0 ? line : VARIABLE_BYTES_MAX)}\n...`;
}
