/** The program as one CommonJS file for each thread. */
import fs from 'node:fs';
import path from 'node:path';
import esbuild from 'esbuild';
import { PAGE_FILES } from '../../src/http/page/files.ts';
import type { Arch } from './target.ts';

/** Threads by the names of their assets, with their entries. */
const ENTRIES = {
  main: 'src/main.ts',
  engine: 'src/engine/worker.ts',
  mount: 'src/mount/worker.ts',
  snapshots: 'src/snapshots/worker.ts',
} as const;

const LINE_CHARS = 120;

export type Bundle = Readonly<Record<keyof typeof ENTRIES, string>>;

/** Bundles all threads into `outDir`; returns the paths. */
export async function bundle(root: string, arch: Arch, outDir: string): Promise<Bundle> {
  await esbuild.build({
    absWorkingDir: root,
    entryPoints: Object.entries(ENTRIES).map(([out, source]) => ({ in: source, out })),
    outdir: outDir,
    outExtension: { '.js': '.cjs' },
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node26',
    legalComments: 'none',
    // Each thread keeps its source in memory. Names stay, and lines, for those who read a stack.
    minifyWhitespace: true,
    lineLimit: LINE_CHARS,
    // Inside the executable there are no files: what asks for its own place gets the executable's.
    define: {
      'import.meta.url': '"file:///"',
      __filename: 'process.execPath',
      __dirname: '"/"',
    },
    plugins: [addons(root, arch), pageFiles(), oneLanguage()],
    logLevel: 'warning',
  });
  const file = (name: keyof typeof ENTRIES) => path.join(outDir, `${name}.cjs`);
  for (const name of Object.keys(ENTRIES) as (keyof typeof ENTRIES)[]) {
    // One other character doubles what V8 needs for the text.
    if (/[^\0-\x7f]/.test(fs.readFileSync(file(name), 'utf8')))
      throw new Error(`${file(name)} is not ASCII`);
  }
  return {
    main: file('main'),
    engine: file('engine'),
    mount: file('mount'),
    snapshots: file('snapshots'),
  };
}

/** Leaves out the languages of zod's messages that nobody asks for. */
function oneLanguage(): esbuild.Plugin {
  return {
    name: 'one-language',
    setup(build) {
      build.onLoad({ filter: /zod\/v4\/locales\/index\.js$/ }, ({ path: index }) => ({
        contents: "export { default as en } from './en.js';",
        resolveDir: path.dirname(index),
      }));
    },
  };
}

/** Puts the text of the status page's files in the place of the module that reads them. */
function pageFiles(): esbuild.Plugin {
  return {
    name: 'page-files',
    setup(build) {
      build.onLoad({ filter: /src\/http\/page\/files\.ts$/ }, () => ({
        contents: `export const PAGE_FILES = ${JSON.stringify(PAGE_FILES)};`,
      }));
    },
  };
}

/** Puts src/os/addons.ts in the place of the packages' own search for their addons. */
function addons(root: string, arch: Arch): esbuild.Plugin {
  const loader = path.join(root, 'src/os/addons.ts');
  return {
    name: 'native-addons',
    setup(build) {
      build.onResolve({ filter: /^better-sqlite3$/ }, () => ({
        path: path.join(root, `node_modules/better-sqlite3/lib/linux-${arch}.js`),
      }));
      build.onResolve({ filter: /\.node$/ }, () => ({
        path: 'better-sqlite3',
        namespace: 'addon',
      }));
      build.onResolve({ filter: /^@koromix\/koffi-/ }, ({ path: name }) =>
        name === `@koromix/koffi-linux-${arch}`
          ? { path: 'koffi', namespace: 'addon' }
          : { path: name, external: true },
      );
      // The entry of koffi that a bundler can follow is its CommonJS one.
      build.onResolve({ filter: /^koffi$/ }, () => ({
        path: path.join(root, 'node_modules/koffi/index.cjs'),
      }));
      build.onLoad({ filter: /.*/, namespace: 'addon' }, ({ path: name }) => ({
        contents: `module.exports = require(${JSON.stringify(loader)}).loadAddon(${JSON.stringify(name)});`,
        resolveDir: root,
      }));
    },
  };
}
