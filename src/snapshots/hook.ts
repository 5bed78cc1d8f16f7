/** A person's own command before or after a run: to mount a disk, to tell ntfy or healthchecks, to copy with rsync. */
import { execFile } from 'node:child_process';

export interface HookResult {
  readonly ok: boolean;
  /** How it ended, and the end of what it wrote. */
  readonly text: string;
}

const HOOK_MS_MAX = 10 * 60_000;
const SHOWN_CHARS = 500;

/** Runs `command` by sh. Never rejects. */
export function runHook(
  command: string,
  environment: Readonly<Record<string, string>>,
): Promise<HookResult> {
  return new Promise((resolve) => {
    const options = { env: { ...process.env, ...environment }, timeout: HOOK_MS_MAX };
    execFile('/bin/sh', ['-c', command], options, (error, stdout, stderr) => {
      const said = `${stdout}${stderr}`.trim().slice(-SHOWN_CHARS);
      const how = error === null ? 'exit status 0' : endOf(error);
      resolve({ ok: error === null, text: said === '' ? how : `${how}: ${said}` });
    });
  });
}

function endOf(error: { code?: unknown; signal?: unknown }): string {
  return typeof error.code === 'number' ? `exit status ${error.code}` : `ended by ${error.signal}`;
}
