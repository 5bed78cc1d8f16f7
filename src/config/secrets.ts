/**
 * The secret of the nodes and the token for the status: how strong each must be, where it may stand, and the files that
 * hold one. A file has the text alone, with or without a newline behind it.
 */
import { closeSync, constants, fstatSync, openSync, readSync, type Stats, statSync } from 'node:fs';
import { errorText, LiteFsError } from '../errors.ts';
import type { Config, ConfigProblem } from './config.ts';
import type { ConfigFile } from './schema.ts';

/** 16 bytes in base64, without the padding. */
const SECRET_CHARS_MIN = 22;
const SECRET_KINDS_MIN = 8;
const FILE_BYTES_MAX = 4096;
const ROOT = 0;
const OTHERS_MAY_READ = 0o004;
const OTHERS_MAY_READ_OR_WRITE = 0o006;

const GUESSABLE =
  'can be guessed: write one of at least 128 random bits, as this makes: openssl rand -hex 32';
const SAME = 'is the same as replication.secret, which opens everything: write another one';
const NOT_A_TOKEN =
  'has other characters than HTTP can send: write letters, digits and signs of ASCII';
const ONE_PLACE = 'says the same as the key without "-file": remove one of the two';

/** What is wrong with those that stand in the config itself. */
export function secretProblems(file: ConfigFile, { replication, http }: Config): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const blame = (section: string, key: string, text: string) =>
    problems.push({ path: [section, key], at: 'value', text });

  if (isGuessable(replication.secret)) blame('replication', 'secret', GUESSABLE);
  if (file.replication['secret-file'] && replication.secret !== undefined) {
    blame('replication', 'secret-file', ONE_PLACE);
  }
  if (isGuessable(http.statusToken)) blame('http', 'status-token', GUESSABLE);
  if (!isSendable(http.statusToken)) blame('http', 'status-token', NOT_A_TOKEN);
  if (file.http['status-token-file'] && http.statusToken !== undefined) {
    blame('http', 'status-token-file', ONE_PLACE);
  }
  if (http.statusToken !== undefined && http.statusToken === replication.secret) {
    blame('http', 'status-token', SAME);
  }
  return problems;
}

/** One that stands in the config file itself is a secret only as long as others cannot read that. Throws CONFIG. */
export function refuseOpenSecrets(file: string, source: string, config: Config): void {
  const isInSource = (secret: string | undefined) =>
    secret !== undefined && source.includes(secret);
  const name = isInSource(config.replication.secret)
    ? 'replication.secret'
    : isInSource(config.http.statusToken)
      ? 'http.status-token'
      : undefined;
  if (name === undefined || (statSync(file).mode & OTHERS_MAY_READ) === 0) return;
  throw new LiteFsError(
    'CONFIG',
    `${file} has ${name} in it, and every user of this machine may read it`,
    { hint: `Run: chmod o-rwx ${file}` },
  );
}

/** The config with what its secret files hold. Throws CONFIG, never with a part of them. */
export function withSecretFiles(config: Config): Config {
  const { secretFile } = config.replication;
  const { statusTokenFile } = config.http;
  const secret =
    secretFile === undefined
      ? config.replication.secret
      : readSecretFile('replication.secret-file', secretFile);
  const statusToken =
    statusTokenFile === undefined
      ? config.http.statusToken
      : readSecretFile('http.status-token-file', statusTokenFile);
  for (const [why, isSo] of [
    [SAME, statusToken !== undefined && statusToken === secret],
    [NOT_A_TOKEN, !isSendable(statusToken)],
  ] as const) {
    if (isSo) throw new LiteFsError('CONFIG', `http.status-token ${why}`);
  }
  return {
    ...config,
    replication: { ...config.replication, secret },
    http: { ...config.http, statusToken },
  };
}

/**
 * The text in the file at `path`. `field`: the key that names it, for messages. A link is followed: container platforms
 * make secrets available by links, and it is the file that must be root's or this process's own.
 * @throws LiteFsError CONFIG
 */
export function readSecretFile(field: string, path: string): string {
  const named = `${field}: ${path}`;
  let fd: number | undefined;
  let stat: Stats;
  let bytes: Buffer;
  try {
    // A FIFO without a writer would hold up the start for ever.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    stat = fstatSync(fd);
    if (stat.isFile()) refuseOpenFile(named, path, stat);
    bytes = stat.isFile() ? readUpTo(fd, FILE_BYTES_MAX + 1) : Buffer.alloc(0);
  } catch (error) {
    if (error instanceof LiteFsError) throw error;
    const hint = unreadableHint(path, (error as NodeJS.ErrnoException).code);
    throw new LiteFsError('CONFIG', `${field}: cannot read it: ${errorText(error)}`, {
      hint,
      cause: error,
    });
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
  if (!stat.isFile()) throw wrongContent(`${named} is not a regular file`);
  if (bytes.length > FILE_BYTES_MAX) throw wrongContent(`${named} is larger than 4 KiB`);
  return secretIn(named, bytes);
}

function refuseOpenFile(named: string, path: string, { uid, mode }: Stats): void {
  if (uid !== ROOT && uid !== process.geteuid?.()) {
    throw new LiteFsError('CONFIG', `${named} belongs to user ${uid}, who may change it`, {
      hint: `Run: chown root ${path}`,
    });
  }
  if ((mode & OTHERS_MAY_READ_OR_WRITE) === 0) return;
  throw new LiteFsError('CONFIG', `${named}: every user of this machine may read or write it`, {
    hint: `Run: chmod o-rwx ${path}`,
  });
}

/** Throws the system's errors. */
function readUpTo(fd: number, bytesMax: number): Buffer {
  const bytes = Buffer.alloc(bytesMax);
  let length = 0;
  for (let read = -1; read !== 0 && length < bytesMax; length += read) {
    read = readSync(fd, bytes, { offset: length });
  }
  return bytes.subarray(0, length);
}

/** Strict: a key with a stray blank or byte order mark would be another one on another node. */
function secretIn(named: string, bytes: Buffer): string {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw wrongContent(`${named} is not text (UTF-8)`);
  }
  const secret = text.replace(/\n$/, '');
  if (secret === '') throw wrongContent(`${named} is empty`);
  if (secret.includes('\n')) throw wrongContent(`${named} has more than one line`);
  if (/^[\s\ufeff]|\s$|\p{Cc}/u.test(secret)) {
    throw wrongContent(`${named} has a blank at an end of its line, or a control character`);
  }
  if (isGuessable(secret)) throw wrongContent(`${named} has one that can be guessed`);
  return secret;
}

function wrongContent(message: string): LiteFsError {
  return new LiteFsError('CONFIG', message, {
    hint: 'It holds one line of at least 128 random bits, as this makes: openssl rand -hex 32',
  });
}

/** Whether systemd makes it, for a unit with LoadCredential=. */
export function isCredential(path: string): boolean {
  return path.startsWith('/run/credentials/');
}

function unreadableHint(path: string, code: string | undefined): string | undefined {
  if (code === 'EACCES') return 'Run it as root: sudo litefs-lite ...';
  if (code !== 'ENOENT') return undefined;
  return isCredential(path)
    ? 'systemd has it there while the service runs, if the unit has a LoadCredential= for it: systemctl restart litefs-lite'
    : `Copy it from another node, or make it on the first one: (umask 077; openssl rand -hex 32 > ${path})`;
}

/**
 * Whether a secret surely has fewer than 128 bits: with fewer characters than those make in base64, or too few different ones. From
 * one handshake, or an API that is asked often, it could be found.
 */
function isGuessable(secret: string | undefined): boolean {
  if (secret === undefined) return false;
  return secret.length < SECRET_CHARS_MIN || new Set(secret).size < SECRET_KINDS_MIN;
}

/** Programs differ in how they send other characters in a header. */
function isSendable(token: string | undefined): boolean {
  return token === undefined || /^[!-~]*$/.test(token);
}
