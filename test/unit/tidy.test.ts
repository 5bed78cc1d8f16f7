/** What the source promises of itself, read from its text: the arrows between folders, sizes, first lines. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { ERROR_CODES } from '../../src/errors.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const LINES_MAX = 450;

interface Import {
  /** Relative to the root, as is the module it stands in. */
  readonly target: string;
  readonly typesOnly: boolean;
}

/** A static import or re-export, on one line or several, or a dynamic one. */
const IMPORT =
  /^(?:import|export)\s+(type\s+)?(?:[^'";]*?\sfrom\s+)?'(\.[^']+)'|\b(?:import|new URL)\(\s*'(\.[^']+)'/gm;

const sources = [...filesBelow('src', '.ts'), ...filesBelow('src', '.js')];
const texts = new Map(
  [...sources, ...filesBelow('test', '.ts'), ...filesBelow('scripts')].map((file) => [
    file,
    fs.readFileSync(path.join(ROOT, file), 'utf8'),
  ]),
);
const ROOM_FILES_MAX = 14;
const imports = new Map(sources.map((file) => [file, importsOf(file)]));

describe('imports', () => {
  const architecture = fs.readFileSync(path.join(ROOT, 'docs/architecture.md'), 'utf8');
  const levels = levelsOf(/^ {4}(\w+(?:, \w+)*(?: +-> +\w+(?:, \w+)*)+)$/m.exec(architecture)?.[1]);
  /** Of types only: the interface that the engine's client implements. */
  const upwards = new Set(['src/engine/client.ts -> src/replication/store.ts']);

  it('are found in all their forms', () => {
    assert(imports.get('src/main.ts')?.some(({ target }) => target === 'src/cli/cli.ts'));
    const own = imports.get('src/replication/store.ts');
    assert.deepEqual(own, [
      { target: 'src/ltx/position.ts', typesOnly: true },
      { target: 'src/store/log-entry.ts', typesOnly: true },
      { target: 'src/store/ownership.ts', typesOnly: true },
    ]);
    const missing = eachImport((_, { target }) => !fs.existsSync(path.join(ROOT, target)));
    assert.deepEqual(missing, [], 'imports of files that are not there');
  });

  it('point downwards, as docs/architecture.md draws them', () => {
    const wrong = eachImport((file, { target, typesOnly }) => {
      const [from, to] = [folderOf(file), folderOf(target)];
      if (from === undefined || to === undefined || from === to) return false;
      if (typesOnly && upwards.has(`${file} -> ${target}`)) return false;
      const [above, below] = [levels.get(from), levels.get(to)];
      // A folder that is not drawn stands by itself: all may use it, it uses none.
      if (above === undefined) return true;
      return below !== undefined && below > above;
    });
    assert.deepEqual(wrong, []);
  });

  it('draws no folder that is not there', () => {
    const folders = fs.readdirSync(path.join(ROOT, 'src'));
    assert.deepEqual(
      [...levels.keys()].filter((name) => !folders.includes(name)),
      [],
    );
  });

  it('keep SQLite out of fuse', () => {
    const wrong = eachImport(
      (file, { target }) =>
        folderOf(file) === 'fuse' && !['fuse', 'os', undefined].includes(folderOf(target)),
    );
    assert.deepEqual(wrong, []);
  });

  it('point downwards between the rooms of the engine, as the second drawing has them, those of types too', () => {
    const rooms = levelsOf(/^ {4}rooms: (.*)$/m.exec(architecture)?.[1]);
    const wrong = eachImport((file, { target }) => {
      const [from, to] = [roomOf(file), roomOf(target)];
      if (from === undefined || to === undefined || from === to) return false;
      return (rooms.get(to) ?? Infinity) >= (rooms.get(from) ?? -1);
    });
    assert.deepEqual(wrong, []);
    const sizes = new Map<string, number>();
    for (const file of sources) {
      const room = roomOf(file);
      if (room !== undefined) sizes.set(room, (sizes.get(room) ?? 0) + 1);
    }
    assert.deepEqual([...sizes.keys()].sort(), [...rooms.keys()].sort());
    assert.deepEqual(
      [...sizes].filter(([, size]) => size > ROOM_FILES_MAX),
      [],
    );
  });

  it('make no circle in the engine, not even by types', () => {
    const modules = new Map<string, Set<string>>();
    for (const [file, list] of imports) {
      if (folderOf(file) !== 'engine') continue;
      for (const { target } of list) if (folderOf(target) === 'engine') link(modules, file, target);
    }
    assert.deepEqual(circleIn(modules), []);
  });

  it('make no circle, between modules or folders', () => {
    const modules = new Map<string, Set<string>>();
    const folders = new Map<string, Set<string>>();
    for (const [file, list] of imports) {
      for (const { target } of list.filter(({ typesOnly }) => !typesOnly)) {
        link(modules, file, target);
        const [from, to] = [folderOf(file), folderOf(target)];
        if (from !== undefined && to !== undefined && from !== to) link(folders, from, to);
      }
    }
    assert.deepEqual(circleIn(modules), []);
    assert.deepEqual(circleIn(folders), []);
    assert.deepEqual(
      circleIn(
        new Map([
          ['a', new Set(['b'])],
          ['b', new Set(['a'])],
        ]),
      ),
      ['a', 'b'],
    );
  });
});

describe('the tree and the mount', () => {
  /** Their paths, and what opens, makes or asks about files by path. */
  const place = /\b(?:layout\.tree|treeRoot|mountDir|(?:tree|mount|door)\.dir)\b/;
  const byPath = /\bfs\.|\bpath\.join\(|\$\{[^}]*(?:layout\.tree|treeRoot|mountDir)\}\//;
  /** A file of our own, in the root of the mount. */
  const own = /LAG_FILE/;

  it('are reached through the door alone', () => {
    const found = (file: string) =>
      (texts.get(file) ?? '')
        .split('\n')
        .filter((line) => place.test(line) && byPath.test(line) && !own.test(line))
        .map((line) => `${file}: ${line.trim()}`);
    assert.deepEqual(sources.flatMap(found), []);
    assert(place.test('fs.openSync(layout.tree)') && byPath.test('fs.openSync(layout.tree)'));
  });
});

describe('commands', () => {
  /** A screen and a bar, of numbers and of what is plain already; a line of its own text; a question. */
  const own = ['print', 'status', 'progress', 'token', 'given-token'].map(
    (name) => `src/cli/${name}.ts`,
  );

  it('write by print.ts, which shows names of others as text', () => {
    const direct = /\bprocess\.std(?:out|err)\.write\(|\bconsole\./;
    const found = sources.filter(
      (file) => file.startsWith('src/cli/') && direct.test(texts.get(file) ?? ''),
    );
    assert.deepEqual(
      found.filter((file) => !own.includes(file)),
      [],
    );
    assert(found.includes('src/cli/print.ts'));
  });
});

describe('files', () => {
  it(`have at most ${LINES_MAX} lines`, () => {
    const long = matching((text) => text.split('\n').length - 1 > LINES_MAX);
    assert.deepEqual(long, []);
  });

  it('leave nothing for later', () => {
    const later = /\b(?:TODO|FIXME|XXX)\b|\bfor now\b|\.(?:only|skip)\(/;
    /** Said of what a daemon does, not of how it is written. */
    const meant = /for now or for good|(?:captured|applied) for now|0 for now|ends, for now/g;
    const left = matching(
      (text, file) => file !== 'test/unit/tidy.test.ts' && later.test(text.replace(meant, '')),
    );
    assert.deepEqual(left, []);
  });

  it('of src open by saying what they are', () => {
    const silent = sources.filter((file) => !texts.get(file)?.startsWith('/**'));
    assert.deepEqual(silent, []);
  });

  it('have names in kebab-case', () => {
    const odd = [...texts.keys()].filter((file) => !/^(?:[a-z0-9]+[-./])*[a-z0-9]+$/.test(file));
    assert.deepEqual(odd, []);
  });
});

describe('docs/errors.md', () => {
  const document = fs.readFileSync(path.join(ROOT, 'docs/errors.md'), 'utf8');
  const rows = [...document.matchAll(/^\| `(\w+)` \| (\d+) \| (.+) \| (.+) \|$/gm)];

  it('has each code once, in order, with its exit status', () => {
    assert.deepEqual(
      rows.map(([, code, status]) => [code, Number(status)]),
      Object.entries(ERROR_CODES).map(([code, { exitStatus }]) => [code, exitStatus]),
    );
  });

  it('tells of codes that something throws', () => {
    const thrown = sources
      .filter((file) => file !== 'src/errors.ts')
      .map((file) => texts.get(file));
    const unused = rows.filter(([, code]) => !thrown.some((text) => text?.includes(`'${code}'`)));
    assert.deepEqual(
      unused.map(([, code]) => code),
      [],
    );
  });
});

describe('links', () => {
  const documents = ['README.md', 'CONTRIBUTING.md', ...filesBelow('docs', '.md')];

  it('of the documents lead to files, and to headings in them', () => {
    const dead = documents.flatMap((document) =>
      linksOf(document).filter((link) => !leadsSomewhere(document, link)),
    );
    assert.deepEqual(dead, []);
    assert(linksOf('README.md').length > 0);
  });
});

describe('package-lock.json', () => {
  it('names no registry', () => {
    const lock = fs.readFileSync(path.join(ROOT, 'package-lock.json'), 'utf8');
    assert(!lock.includes('"resolved"'), 'set omit-lockfile-registry-resolved');
  });
});

function filesBelow(dir: string, suffix = ''): string[] {
  return fs
    .readdirSync(path.join(ROOT, dir), { recursive: true, withFileTypes: true })
    .filter(({ parentPath }) => !parentPath.includes('node_modules'))
    .filter((entry) => entry.isFile() && entry.name.endsWith(suffix))
    .map((entry) => path.relative(ROOT, path.join(entry.parentPath, entry.name)))
    .sort();
}

function importsOf(file: string): Import[] {
  const list: Import[] = [];
  for (const [, type, static_, dynamic] of (texts.get(file) ?? '').matchAll(IMPORT)) {
    const target = path.join(path.dirname(file), static_ ?? dynamic);
    list.push({ target, typesOnly: type !== undefined });
  }
  return list;
}

/** The targets of links in a document that are not addresses elsewhere. */
function linksOf(document: string): string[] {
  const text = fs.readFileSync(path.join(ROOT, document), 'utf8');
  const targets = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target);
  return targets.filter((target) => !/^[a-z]+:/.test(target));
}

function leadsSomewhere(document: string, target: string): boolean {
  const [where, heading] = target.split('#');
  const file = where === '' ? document : path.join(path.dirname(document), where);
  if (!fs.existsSync(path.join(ROOT, file))) return false;
  if (heading === undefined) return true;
  const headings = fs.readFileSync(path.join(ROOT, file), 'utf8').matchAll(/^#+ (.*)$/gm);
  return [...headings].some(([, text]) => anchorOf(text) === heading);
}

/** As GitHub makes it of a heading. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\w\- ]/g, '')
    .replaceAll(' ', '-');
}

/** `src/engine/…` is of `engine`; what lies beside the folders is of none. */
function folderOf(file: string): string | undefined {
  return /^src\/([^/]+)\//.exec(file)?.[1];
}

/** The room of the engine that a file is in; those beside the rooms are in `thread`. */
function roomOf(file: string): string | undefined {
  const [, room, name] = /^src\/engine\/(?:(\w+)\/)?([\w-]+\.ts)$/.exec(file) ?? [];
  return name === undefined ? undefined : (room ?? 'thread');
}

/** The height of each name in a drawing: `a  ->  b, c  ->  d` on one line. */
function levelsOf(drawing: string | undefined): Map<string, number> {
  assert(drawing, 'docs/architecture.md has the arrows');
  const levels = drawing.split('->').map((names) => names.split(',').map((name) => name.trim()));
  return new Map(levels.reverse().flatMap((names, height) => names.map((name) => [name, height])));
}

/** The imports that a rule picks, as text. */
function eachImport(rule: (file: string, entry: Import) => boolean): string[] {
  return [...imports].flatMap(([file, list]) =>
    list.filter((entry) => rule(file, entry)).map(({ target }) => `${file} -> ${target}`),
  );
}

function matching(rule: (text: string, file: string) => boolean): string[] {
  return [...texts].filter(([file, text]) => rule(text, file)).map(([file]) => file);
}

function link(graph: Map<string, Set<string>>, from: string, to: string): void {
  const targets = graph.get(from) ?? new Set();
  graph.set(from, targets.add(to));
}

/** The nodes of a circle, in order; none when there is no circle. */
function circleIn(graph: ReadonlyMap<string, ReadonlySet<string>>): string[] {
  const done = new Set<string>();
  const walk = (node: string, trail: readonly string[]): string[] => {
    const seen = trail.indexOf(node);
    if (seen >= 0) return trail.slice(seen);
    if (done.has(node)) return [];
    for (const next of graph.get(node) ?? []) {
      const circle = walk(next, [...trail, node]);
      if (circle.length > 0) return circle;
    }
    done.add(node);
    return [];
  };
  for (const node of graph.keys()) {
    const circle = walk(node, []);
    if (circle.length > 0) return circle;
  }
  return [];
}
