/**
 * Makes the executable: `npm run build [-- --arch arm64] [-- --output FILE] [-- --addons DIR]`.
 *
 * Bundle, strip Node (afterwards it cannot be) and the addons, and put the program into it by `node --build-sea`.
 * `--addons` also copies the native addons to a folder, for a package that installs them.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { bundle } from './build/bundle.ts';
import { type Arch, targetOf } from './build/target.ts';

const root = path.dirname(import.meta.dirname);
const { values } = parseArgs({
  options: {
    arch: { type: 'string', default: process.arch },
    output: { type: 'string' },
    addons: { type: 'string' },
  },
});
const arch = values.arch as Arch;
if (arch !== 'x64' && arch !== 'arm64') throw new Error(`--arch is x64 or arm64, not ${arch}`);
const name = arch === process.arch ? 'litefs-lite' : `litefs-lite-${arch}`;
const output = path.resolve(values.output ?? path.join(root, 'dist', name));
const work = path.join(root, 'dist', `build-${arch}`);

fs.rmSync(work, { recursive: true, force: true });
fs.mkdirSync(work, { recursive: true });
fs.mkdirSync(path.dirname(output), { recursive: true });
const target = targetOf(root, arch);
const { main, engine, mount, snapshots } = await bundle(root, arch, work);
const node = path.join(work, 'node');
execFileSync(target.strip, ['-o', node, target.node]);
const addons = Object.entries(target.addons).map(([addon, file]) => {
  const stripped = path.join(work, `${addon}.node`);
  execFileSync(target.strip, ['--strip-unneeded', '-o', stripped, file]);
  return { addon, file: stripped };
});
const config = path.join(work, 'sea.json');
fs.writeFileSync(
  config,
  JSON.stringify({
    main,
    output,
    executable: node,
    disableExperimentalSEAWarning: true,
    useCodeCache: false,
    execArgv: ['--disable-warning=ExperimentalWarning'],
    execArgvExtension: 'none',
    assets: {
      'engine.cjs': engine,
      'mount.cjs': mount,
      'snapshots.cjs': snapshots,
      ...Object.fromEntries(addons.map(({ addon, file }) => [`${addon}.node`, file])),
    },
  }),
);
execFileSync(process.execPath, ['--build-sea', config], { stdio: ['ignore', 'ignore', 'inherit'] });
fs.chmodSync(output, 0o755);
if (values.addons) {
  fs.mkdirSync(values.addons, { recursive: true });
  for (const { addon, file } of addons) {
    const copy = path.join(values.addons, `${addon}.node`);
    fs.copyFileSync(file, copy);
    fs.chmodSync(copy, 0o644);
  }
}
fs.rmSync(work, { recursive: true });
const mib = (fs.statSync(output).size / 2 ** 20).toFixed(1);
process.stdout.write(`${path.relative(process.cwd(), output)}: linux-${arch}, ${mib} MiB\n`);
