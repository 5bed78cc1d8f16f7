/**
 * From a config file to a Config: find it, read it, expand variables, parse, check; every problem
 * found is reported at once, each as `file:line:column: what is wrong: what to write`.
 */
import { accessSync, closeSync, constants, openSync, readSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { LineCounter } from 'yaml';
import { errorText, LiteFsError } from '../errors.ts';
import {
  type Config,
  type ConfigProblem,
  contradictions,
  doubts,
  resolveConfig,
} from './config.ts';
import { type ConfigDocument, parseConfigDocument } from './document.ts';
import { type Environment, expandVariables, type SourceProblem, unexpanded } from './expand.ts';
import { ineffectiveFields } from './json-schema.ts';
import { problemsOf } from './problems.ts';
import { configFileSchema } from './schema.ts';
import { refuseOpenSecrets, withSecretFiles } from './secrets.ts';
import { incrementsMax } from './snapshots.ts';
import { type Address, socketAt } from './values.ts';

/** A config file is a page or two; what is larger is some other file. */
const FILE_BYTES_MAX = 1 << 20;

export interface LoadedConfig {
  readonly config: Config;
  /** The file, as it is named in messages. */
  readonly file: string;
  /** Sentences for the log. */
  readonly warnings: readonly string[];
}

export interface Surroundings {
  readonly env: Environment;
  /** Where ./litefs.yml and relative directories are. */
  readonly cwd: string;
  /** false: `$` is an ordinary character (-no-expand-env). */
  readonly expandEnv: boolean;
}

/** Where a config file is looked for, in this order, when none is named. */
export function searchPath(surroundings: Pick<Surroundings, 'env' | 'cwd'>): string[] {
  const { env, cwd } = surroundings;
  return [
    '/etc/litefs-lite.yml',
    join(cwd, 'litefs.yml'),
    ...(env.HOME ? [join(env.HOME, 'litefs.yml')] : []),
    '/etc/litefs.yml',
  ];
}

/** The first file of the search path that exists, or may exist where we may not look; undefined when there is none. */
export function findConfigFile(candidates: readonly string[]): string | undefined {
  return candidates.find((path) => {
    try {
      return statSync(path, { throwIfNoEntry: false }) !== undefined;
    } catch {
      // A folder that is not ours. Reading it says what is wrong.
      return true;
    }
  });
}

/**
 * Loads the file at `path` (`-config`), or the first of the search path, and the files with secrets that it names.
 * @throws LiteFsError CONFIG: no file, unreadable, or wrong; its message may have several lines.
 */
export function loadConfig(path: string | undefined, surroundings: Surroundings): LoadedConfig {
  const loaded = loadConfigAlone(path, surroundings);
  return { ...loaded, config: withSecretFiles(loaded.config) };
}

/**
 * The same without what other files hold, for commands that need no secret: it may not be there while the node is down.
 * @throws LiteFsError CONFIG
 */
export function loadConfigAlone(
  path: string | undefined,
  surroundings: Surroundings,
): LoadedConfig {
  const candidates = searchPath(surroundings);
  const file = path === undefined ? findConfigFile(candidates) : resolve(surroundings.cwd, path);
  if (file === undefined) {
    throw new LiteFsError('CONFIG', `no config file: looked for ${candidates.join(', ')}`, {
      hint: 'write one of them, or name yours: --config FILE',
    });
  }
  const source = readConfigFile(file);
  const loaded = parseConfig(source, file, surroundings);
  refuseOpenSecrets(file, source, loaded.config);
  return loaded;
}

/** What programs that ask a node must know of its config. */
export interface NodePlace {
  readonly httpAddr: Address;
  /** Its Unix socket. */
  readonly socket: string;
}

/**
 * The place of the node that the file is of which loadConfig would take. Only that is looked at: such programs need not
 * have the secret that the file takes from the environment. Without a file, or one that we may read: the defaults.
 * @throws LiteFsError CONFIG: the file at `path` cannot be read, or what it says of http.addr and http.socket cannot be understood
 */
export function loadNodePlace(path: string | undefined, surroundings: Surroundings): NodePlace {
  const found =
    path === undefined ? findConfigFile(searchPath(surroundings)) : resolve(surroundings.cwd, path);
  const file = path === undefined && found !== undefined && !isReadable(found) ? undefined : found;
  const source = file === undefined ? '' : readConfigFile(file);
  const { value } = parseConfigDocument(expandVariables(source, surroundings.env).text);
  const { addr, socket } = ((value ?? {}) as { http?: Record<string, unknown> | null }).http ?? {};
  const parsed = configFileSchema.safeParse({ http: { addr, socket } });
  // The whole file says better than this what is wrong, and where.
  const { http } =
    value !== undefined && parsed.success
      ? resolveConfig(parsed.data, surroundings.cwd)
      : parseConfig(source, file ?? '', surroundings).config;
  return { httpAddr: http.addr, socket: socketAt(http, http.addr.port) };
}

/** `init` writes files that only root may read; others ask at the default port. */
function isReadable(file: string): boolean {
  try {
    accessSync(file, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

function readConfigFile(file: string): string {
  const bytes = Buffer.alloc(FILE_BYTES_MAX + 1);
  let length = 0;
  try {
    const fd = openSync(file, 'r');
    try {
      for (let read = -1; read !== 0; length += read) {
        read = readSync(fd, bytes, { offset: length });
      }
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    const isDenied = (error as NodeJS.ErrnoException).code === 'EACCES';
    throw new LiteFsError('CONFIG', `cannot read the config file ${file}: ${errorText(error)}`, {
      hint: isDenied ? 'Run it as root: sudo litefs-lite ...' : undefined,
      cause: error,
    });
  }
  if (length > FILE_BYTES_MAX) {
    throw new LiteFsError('CONFIG', `config file ${file} is larger than 1 MiB`, {
      hint: 'is it the right file?',
    });
  }
  return bytes.toString('utf8', 0, length);
}

/**
 * The configuration in a text. `file` names it in messages.
 * @throws LiteFsError CONFIG with one line for each problem.
 */
export function parseConfig(
  source: string,
  file: string,
  surroundings: Surroundings,
): LoadedConfig {
  const expanded = surroundings.expandEnv
    ? expandVariables(source, surroundings.env)
    : unexpanded(source);
  failIfAny(expanded.problems, source, file);

  const document = parseConfigDocument(expanded.text);
  const inSource = (offset: number): number => expanded.sourceOffset(offset);
  failIfAny(
    document.problems.map(({ offset, text }) => ({ offset: inSource(offset), text })),
    source,
    file,
  );
  const failIfWrong = (problems: readonly ConfigProblem[]): void =>
    failIfAny(
      problems.map(({ path, at, text }) => ({
        offset: inSource(document.offsetOf(path, at)),
        text: `${subject(document, path)} ${text}`,
      })),
      source,
      file,
    );

  const parsed = configFileSchema.safeParse(document.value);
  if (!parsed.success) {
    failIfWrong(problemsOf(parsed.error.issues, document.value));
    throw new Error('the schema refused a config without saying why');
  }
  const config = resolveConfig(parsed.data, surroundings.cwd);
  failIfWrong(contradictions(parsed.data, config));
  const warnings = [...warningsFor(document, config), ...doubts(parsed.data)];
  return { config, file, warnings };
}

/** The dotted name of what is wrong; not past a list that is not there (an `exec: text` has no [0]). */
function subject(document: ConfigDocument, path: readonly PropertyKey[]): string {
  const present = document.presentPath(path).length;
  const cut = path.findIndex((key, depth) => depth >= present && typeof key === 'number');
  const name = path
    .slice(0, cut === -1 ? undefined : cut)
    .map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`))
    .join('');
  return name.slice(1) || 'the file';
}

function failIfAny(problems: readonly SourceProblem[], source: string, file: string): void {
  if (problems.length === 0) return;
  const lines = new LineCounter();
  lines.addNewLine(0);
  for (const newline of source.matchAll(/\n/g)) lines.addNewLine(newline.index + 1);
  const messages = [...problems]
    .sort((a, b) => a.offset - b.offset)
    .map(({ offset, text }) => {
      const { line, col } = lines.linePos(offset);
      return `${file}:${line}:${col}: ${text}`;
    });
  throw new LiteFsError('CONFIG', [...new Set(messages)].join('\n'));
}

function warningsFor(document: ConfigDocument, { snapshots }: Config): string[] {
  const increments = snapshots ? incrementsMax(snapshots) : 0;
  const many =
    increments > INCREMENTS_WARNED
      ? [
          `snapshots.keep.within and snapshots.increments keep up to ${increments} files of a database: ` +
            'write a larger increments, or a shorter within; snapshots go further back (keep.daily)',
        ]
      : [];
  return [...ineffectiveIn(document), ...many];
}

/** A directory with more files is slow to list, and each is looked at when archives are tidied. */
const INCREMENTS_WARNED = 100_000;

function ineffectiveIn(document: ConfigDocument): string[] {
  const set = ineffectiveFields().filter(
    ({ path }) => document.presentPath(path).length === path.length,
  );
  if (set.length === 0) return [];
  const list = set.map(({ path, reason }) => `${path.join('.')} (${reason})`).join(', ');
  return [`settings without effect in litefs-lite: ${list}`];
}
