/** Runs adopt or release in a process of its own that dies at a step: `adopt-run.ts adopt|release STEP FILE URL`. */
import { spawnSync } from 'node:child_process';
import { adoptDatabase } from '../../src/cli/adopt/adopt.ts';
import { releaseDatabase } from '../../src/cli/adopt/release.ts';
import type { NodeReport } from '../../src/http/info.ts';

/** Resolves when it has died there. */
export function dieAt(job: 'adopt' | 'release', step: string, file: string, url: string): void {
  const args = [import.meta.filename, job, step, file, url];
  const { signal, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  if (signal !== 'SIGKILL') throw new Error(`${job} did not come to ${step}: ${stderr}`);
}

if (import.meta.main) {
  const [job, last, file, url] = process.argv.slice(2);
  const node = (await (await fetch(new URL('/info', url))).json()) as NodeReport;
  const reached = (step: string) => {
    if (step === last) process.kill(process.pid, 'SIGKILL');
  };
  if (job === 'adopt') await adoptDatabase({ file, node, keep: true, reached });
  else await releaseDatabase({ file, node, delete: false, reached });
}
