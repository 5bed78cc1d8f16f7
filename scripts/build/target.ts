/** What the executable of an architecture is made of: its Node and its native addons, from npm's registry alone. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

export type Arch = 'x64' | 'arm64';

export interface Target {
  readonly arch: Arch;
  /** The official binary, with its symbols. */
  readonly node: string;
  readonly strip: string;
  readonly addons: Readonly<Record<'koffi' | 'better-sqlite3', string>>;
}

const STRIP: Record<Arch, { command: string; debian: string }> = {
  x64: { command: 'x86_64-linux-gnu-strip', debian: 'binutils-x86-64-linux-gnu' },
  arm64: { command: 'aarch64-linux-gnu-strip', debian: 'binutils-aarch64-linux-gnu' },
};

/** Finds all of it below `root`, the checkout; what npm did not install for another architecture is fetched. */
export function targetOf(root: string, arch: Arch): Target {
  const koffi = packageDir(root, `@koromix/koffi-linux-${arch}`);
  return {
    arch,
    node: path.join(packageDir(root, `node-linux-${arch}`), 'bin/node'),
    strip: stripOf(arch),
    addons: {
      koffi: path.join(koffi, `linux_${arch}/koffi.node`),
      'better-sqlite3': path.join(root, `node_modules/better-sqlite3/prebuilds/linux-${arch}.node`),
    },
  };
}

function stripOf(arch: Arch): string {
  const { command, debian } = STRIP[arch];
  try {
    execFileSync(command, ['--version'], { stdio: 'ignore' });
    return command;
  } catch {
    throw new Error(`${command} is not installed: apt install ${debian}`);
  }
}

/** The folder of a package: the installed one, else one from the registry, held to the lock file's hash. */
function packageDir(root: string, name: string): string {
  const installed = path.join(root, 'node_modules', name);
  if (fs.existsSync(installed)) return installed;
  const lock = JSON.parse(fs.readFileSync(path.join(root, 'package-lock.json'), 'utf8'));
  const { version, integrity } = lock.packages[`node_modules/${name}`];
  const cache = path.join(root, 'node_modules/.cache/litefs-lite', `${name}-${version}`);
  if (fs.existsSync(cache)) return cache;
  const unpacked = `${cache}.tmp`;
  fs.rmSync(unpacked, { recursive: true, force: true });
  fs.mkdirSync(unpacked, { recursive: true });
  const output = execFileSync('npm', ['pack', '--json', `${name}@${version}`], { cwd: unpacked });
  const packed: unknown = JSON.parse(output.toString());
  const [{ filename }] = Object.values(packed as Record<string, { filename: string }>);
  const archive = path.join(unpacked, filename.replace('@', '').replace('/', '-'));
  const hash = createHash('sha512').update(fs.readFileSync(archive)).digest('base64');
  if (integrity !== `sha512-${hash}`)
    throw new Error(`${name}@${version} is not what the lock file says`);
  execFileSync('tar', ['-xzf', archive, '--strip-components=1'], { cwd: unpacked });
  fs.rmSync(archive);
  fs.renameSync(unpacked, cache);
  return cache;
}
