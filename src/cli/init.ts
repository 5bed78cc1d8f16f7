/**
 * `litefs-lite init`: the config file of a new node. What can be found out is not asked for. The secret is kept in the
 * file itself, which only its owner may read, so that one file says everything about a node.
 */

import { randomBytes, randomUUID } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type InitialSettings, initialConfig, SHIPPED_CONFIG } from '../config/initial.ts';
import { parseConfig } from '../config/load.ts';
import type { Guarding } from '../daemon/bare-folder.ts';
import { guardAhead } from '../daemon/mount-point.ts';
import { errorText, LiteFsError } from '../errors.ts';
import { holdingOf } from '../lease/holding.ts';
import type { Holding } from '../lease/membership.ts';
import { layoutOf } from '../store/layout.ts';
import { syncDirectory } from '../store/log-files.ts';
import { decodeToken, type JoinToken } from './join-token.ts';
import { lanAddresses, lanHost } from './lan-host.ts';
import { printText } from './print.ts';

export interface InitFlags {
  readonly primary?: boolean;
  readonly replicaOf?: string;
  readonly config: string;
  readonly token?: string;
  readonly dir?: string;
  readonly data?: string;
  readonly force?: boolean;
}

const SECRET_BYTES = 32;
const HTTP_PORT = 20202;
const REPLICATION_PORT = 20204;
const FILE_MODE = 0o600;

/** Writes the file and says what it did. Throws USAGE for flags that contradict, CONFIG when a file is in the way. */
export function init(flags: InitFlags): number {
  const file = path.resolve(flags.config);
  const token = flags.token === undefined ? undefined : decodeToken(tokenText(flags.token));
  const addresses = lanAddresses(os.networkInterfaces());
  const settings = settingsOf(flags, token, {
    host: lanHost(os.networkInterfaces(), os.hostname()),
    secret: () => randomBytes(SECRET_BYTES).toString('base64url'),
  });
  const text = initialConfig(settings);
  // The only way to be sure that `config check` has nothing against it.
  parseConfig(text, file, { env: {}, cwd: path.dirname(file), expandEnv: true });
  const kept = makeWay(file, flags.force ?? false);
  write(file, text);
  const { mountDir = MOUNT_DIR, dataDir = DATA_DIR } = settings;
  const holding = holdingOf(layoutOf(dataDir));
  const guarding = guardAhead(mountDir, dataDir);
  printText(`${story(file, settings, { kept, addresses, holding, guarding })}\n`);
  return 0;
}

/** What is to be written, from what was said and what was found out. */
export function settingsOf(
  flags: Omit<InitFlags, 'config'>,
  token: JoinToken | undefined,
  found: { readonly host: string; readonly secret: () => string },
): InitialSettings {
  if (flags.primary && flags.replicaOf !== undefined) {
    throw new LiteFsError('USAGE', 'a node is either the primary or a replica of another', {
      hint: 'Say --primary, or --replica-of HOST.',
    });
  }
  const isReplica = flags.replicaOf !== undefined || (token !== undefined && !flags.primary);
  if (isReplica && token === undefined) {
    throw new LiteFsError('USAGE', `${flags.replicaOf} lets no replica in without its secret`, {
      hint: `Run "litefs-lite token" on ${flags.replicaOf}, and here: litefs-lite init --token TOKEN`,
    });
  }
  if (flags.replicaOf !== undefined && !/^[\p{L}\p{N}._:-]+$/u.test(flags.replicaOf)) {
    throw new LiteFsError('USAGE', `${flags.replicaOf} is no host`, {
      hint: 'Write a name or an address without a port, such as box1.lan. The ports are in the token.',
    });
  }
  return {
    role: isReplica ? 'replica' : 'primary',
    host: isReplica ? (flags.replicaOf ?? (token as JoinToken).host) : found.host,
    httpPort: token?.httpPort ?? HTTP_PORT,
    replicationPort: token?.replicationPort ?? REPLICATION_PORT,
    secret: token?.secret ?? found.secret(),
    mountDir: flags.dir === undefined ? undefined : path.resolve(flags.dir),
    dataDir: flags.data === undefined ? undefined : path.resolve(flags.data),
  };
}

/** `-`: from standard input, where neither other users nor the shell's history see it. */
function tokenText(given: string): string {
  return given === '-' ? fs.readFileSync(0, 'utf8') : given;
}

/** The name under which a file of the same name is kept; undefined when there is none, or it is the package's. */
function makeWay(file: string, force: boolean): string | undefined {
  let present: string;
  try {
    present = fs.readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new LiteFsError('CONFIG', `cannot read ${file}: ${errorText(error)}`, { cause: error });
  }
  if (present === SHIPPED_CONFIG) return undefined;
  if (!force) {
    throw new LiteFsError('CONFIG', `${file} exists, and is not as the package installed it`, {
      hint: 'Add --force to write a new one with a new secret; the present one is kept as FILE.old.',
    });
  }
  const old = `${file}.old`;
  fs.rmSync(old, { force: true });
  fs.writeFileSync(old, present, { mode: FILE_MODE, flag: 'wx', flush: true });
  return old;
}

/** Whole or not at all, and never readable by others. */
function write(file: string, text: string): void {
  const part = `${file}.${randomUUID()}.part`;
  try {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(part, text, { mode: FILE_MODE, flag: 'wx', flush: true });
    fs.renameSync(part, file);
    syncDirectory(path.dirname(file));
  } catch (error) {
    fs.rmSync(part, { force: true });
    throw new LiteFsError('CONFIG', `cannot write ${file}: ${errorText(error)}`, {
      hint: 'Run as root, or name another file: --config FILE',
      cause: error,
    });
  }
}

/** What was done, what the node does at its next start, and what to type for that. */
function story(
  file: string,
  settings: InitialSettings,
  more: {
    kept: string | undefined;
    addresses: readonly string[];
    holding: Holding;
    guarding: Guarding;
  },
): string {
  const { role, host, mountDir = MOUNT_DIR, dataDir = DATA_DIR } = settings;
  const isPrimary = role === 'primary';
  const others = more.addresses.filter((address) => address !== host);
  const lines = [
    `${file}: this node is ${isPrimary ? 'the primary' : `a replica of ${host}`}`,
    ...(more.kept ? [`  the file that was there is ${more.kept}`] : []),
    `  applications open their databases in ${mountDir}; they are kept in ${dataDir}`,
    ...guardLines(mountDir, more.guarding),
    ...(isPrimary ? [`  replicas find it at ${host}${hintOf(others)}`] : []),
    '  the secret is in the file, which only root may read (mode 0600)',
    ...(isPrimary ? [] : joinLines(host, dataDir, more.holding)),
    '',
    'Next (what runs now goes on as it was until it is restarted):',
    ...(file === DEFAULT_FILE
      ? ['  systemctl restart litefs-lite && litefs-lite status']
      : [`  litefs-lite mount --config ${file}`]),
    isPrimary
      ? `  litefs-lite token${flagOf(file)}      # one line to paste on each replica`
      : `  litefs-lite doctor${flagOf(file)}     # says what is wrong, if it does not come up`,
  ];
  return lines.join('\n');
}

const DEFAULT_FILE = '/etc/litefs-lite.yml';
const MOUNT_DIR = '/litefs';
const DATA_DIR = '/var/lib/litefs';

function guardLines(dir: string, guarding: Guarding): string[] {
  if (guarding.kind === 'cannot tell') return [];
  if (guarding.kind === 'cannot') {
    return [
      `  ! ${dir} is not guarded: ${guarding.reason}. ${guarding.hint}`,
      '    The node tries it again at each start. Until then what runs before it may write below the mount.',
    ];
  }
  return [
    `  ${dir} is immutable: while the node does not run, nobody writes there ("litefs-lite mount-point unguard" undoes it)`,
  ];
}

/** What a replica's start will do, as far as it can be told from here. */
function joinLines(host: string, dataDir: string, holding: Holding): string[] {
  const joins = `  at its next start this node joins ${host} and gets the databases that are there`;
  if (holding === 'nothing') return [joins];
  const has =
    holding === 'databases' ? 'has databases' : 'may have databases: not all of it can be read';
  return [
    `${joins}, if it may:`,
    `  ! ${dataDir} ${has}. ${host} refuses this node unless they are of its own cluster.`,
    `    If they are not wanted: stop this node, and  mv ${dataDir} ${dataDir}.old`,
  ];
}

function hintOf(others: readonly string[]): string {
  return others.length > 0 ? ` (also: ${others.join(', ')}; lease.advertise-url has it)` : '';
}

function flagOf(file: string): string {
  return file === DEFAULT_FILE ? '' : ` --config ${file}`;
}
