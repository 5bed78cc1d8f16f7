/** The executable as it is shipped, for tests and figures. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';

/** Makes it below `root`, the checkout, with its addons beside it as the package installs them; its path. */
export function makeShipped(root: string): string {
  const executable = path.join(root, 'dist/test/bin/litefs-lite');
  const addons = path.join(root, 'dist/test/lib/litefs-lite');
  const args = ['scripts/build.ts', '--output', executable, '--addons', addons];
  const built = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
  if (built.status !== 0) process.exit(built.status ?? 1);
  return executable;
}
