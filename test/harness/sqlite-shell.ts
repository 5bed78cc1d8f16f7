/** Debian's `sqlite3` as a load: processes of their own, each fed one script. */
import { spawn } from 'node:child_process';

/** Waits for locks, fails at the first error. */
const START = '.bail on\n.timeout 30000\n';

export interface ShellEnd {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a script of SQL and dot commands on a file; resolves at its end, whatever that is. */
export function runShell(file: string, script: string): Promise<ShellEnd> {
  const child = spawn('sqlite3', ['-batch', file], { stdio: 'pipe' });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (text) => (stdout += text));
  child.stderr.on('data', (text) => (stderr += text));
  // A shell that is killed in the middle does not read its script to the end.
  child.stdin.on('error', () => {});
  // It knows a dot command by the first column.
  child.stdin.end(START + script.replaceAll(/^ +\./gm, '.'));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status, signal) => resolve({ status, signal, stdout, stderr }));
  });
}

/** The same, and its output; rejects unless it ends well. */
export async function shellOutput(file: string, script: string): Promise<string> {
  const { status, signal, stdout, stderr } = await runShell(file, script);
  if (status !== 0) throw new Error(`sqlite3 ended with ${signal ?? status}: ${stderr}`);
  return stdout.trim();
}
