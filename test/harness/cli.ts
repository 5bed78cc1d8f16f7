/** The command line as a user runs it, from a folder of their own. */
import { spawn } from 'node:child_process';
import os from 'node:os';
import path from 'node:path';

/** The checkout's program. */
export const LAUNCHER = path.resolve(import.meta.dirname, '../../bin/litefs-lite');

/** What is tested: the executable that $LITEFS_LITE_EXECUTABLE names, else the checkout's program. */
export function program(): string {
  return process.env.LITEFS_LITE_EXECUTABLE ?? LAUNCHER;
}

export interface CliRun {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `litefs-lite …` to its end. */
export function runCli(
  args: readonly string[],
  options: { cwd?: string; env?: Record<string, string>; bin?: string } = {},
): Promise<CliRun> {
  const child = spawn(options.bin ?? program(), args, {
    cwd: options.cwd ?? os.tmpdir(),
    env: { ...process.env, NO_COLOR: '1', ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (text) => (stdout += text));
  child.stderr.on('data', (text) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, stdout, stderr }));
  });
}
