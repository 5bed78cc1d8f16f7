/**
 * The applications of this node: which of the config's commands it runs, as which user, and with which environment. All of it
 * is found out before anything is mounted.
 */
import fs from 'node:fs';
import type { Config, ExecCommand } from '../config/config.ts';
import { LiteFsError } from '../errors.ts';
import { lackedCapabilities } from '../os/capabilities.ts';
import { findLogin, type Login, type MissingLogin } from '../os/logins.ts';
import { programIn } from '../os/programs.ts';

export interface App {
  /** Program and arguments, at least one word. */
  readonly argv: readonly string[];
  /** undefined: as the daemon itself. */
  readonly login: Login | undefined;
  readonly env: Readonly<Record<string, string>>;
  /** Whether of the daemon's environment only PATH, the language and the time zone are passed on. */
  readonly isClean: boolean;
}

/** What the app learns from its environment. */
export interface AppFacts {
  readonly LITEFS_DIR: string;
  readonly LITEFS_PRIMARY: string;
  readonly LITEFS_IS_PRIMARY: string;
}

const ROOT = 0;
const USUAL_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** `command`: one to run in place of those of the config. Throws CONFIG for users and groups that are not there, or cannot be. */
export function appsOf(config: Config, command: readonly string[] | undefined): App[] {
  if (command) return [{ argv: command, login: undefined, env: {}, isClean: false }];
  return config.exec
    .filter(({ ifCandidate }) => !ifCandidate || config.lease.candidate)
    .map((entry) => {
      const { argv, env, cleanEnv } = entry;
      return { argv, env, isClean: cleanEnv, login: loginOf(entry) };
    });
}

/** Throws CONFIG. */
function loginOf({ argv, user, group }: ExecCommand): Login | undefined {
  if (user === undefined) return undefined;
  const read = (file: string) => fs.readFileSync(file, 'utf8');
  const files = { passwd: read('/etc/passwd'), group: read('/etc/group') };
  const login = findLogin(user, group, files);
  const refuse = (text: string, hint: string) =>
    new LiteFsError('CONFIG', `exec, ${argv[0]}: ${text}`, { hint });
  if (typeof login === 'string') {
    throw refuse(MISSING[login](user, group), 'Make it, or write another name or a number.');
  }
  const uid = process.geteuid?.();
  if (uid !== ROOT) {
    throw refuse(
      `only root can run it as user ${user}, and this is user ${uid}`,
      'Run the node as root, or leave out user.',
    );
  }
  const lacked = lackedCapabilities(read('/proc/self/status'), NEEDED);
  if (lacked.length > 0) {
    throw refuse(
      `to run it as user ${user}, and to stop it, this process lacks ${lacked.join(', ')}`,
      'Start it by a unit of its own; or: systemctl edit litefs-lite, and there, below [Service], ' +
        `CapabilityBoundingSet=${NEEDED.join(' ')}. In a container: --cap-add.`,
    );
  }
  if (setpriv() === undefined) {
    throw refuse(
      `there is no setpriv, which runs it as user ${user}`,
      'It is part of util-linux: apt install util-linux. Or leave out user.',
    );
  }
  return login;
}

const NEEDED = ['CAP_SETUID', 'CAP_SETGID', 'CAP_KILL'] as const;

const MISSING: Record<MissingLogin, (user: string, group: string | undefined) => string> = {
  user: (user) => `there is no user ${user} on this machine (/etc/passwd)`,
  group: (_, group) => `there is no group ${group} on this machine (/etc/group)`,
  'group of the user': (user) =>
    `user ${user} is not in /etc/passwd, so its group must be said: write group: beside user:`,
};

/**
 * The words that run an app as its user. By setpriv(1), which becomes the app: Node's own uid and gid options leave no other
 * groups to it (libuv calls setgroups with none).
 */
export function commandOf({ argv, login }: App): readonly string[] {
  if (login === undefined) return argv;
  const { uid, gid, groups } = login;
  const as = [`--reuid=${uid}`, `--regid=${gid}`, `--groups=${groups.join(',')}`];
  return [setpriv() ?? 'setpriv', ...as, '--inh-caps=-all', '--', ...argv];
}

/** By the daemon's own PATH, not the app's. */
function setpriv(): string | undefined {
  const folders = `${process.env.PATH ?? ''}:${USUAL_PATH}`.split(':');
  return programIn(folders.filter((folder) => folder.startsWith('/')).join(':'), 'setpriv');
}

/** `inherited`: the daemon's, without what is its alone (own-environment.ts). */
export function environmentOf(
  { env, login, isClean }: App,
  inherited: NodeJS.ProcessEnv,
  facts: AppFacts,
): NodeJS.ProcessEnv {
  const kept = isClean ? cleaned(inherited, login === undefined) : inherited;
  return { ...kept, ...(login && accountOf(login)), ...facts, ...env };
}

const PASSED_ON = /^(?:PATH|LANG|LANGUAGE|LC_[A-Z]+|TZ)$/;
const ACCOUNT = /^(?:HOME|USER|LOGNAME|SHELL)$/;

function cleaned(inherited: NodeJS.ProcessEnv, withAccount: boolean): NodeJS.ProcessEnv {
  const isKept = (name: string) => PASSED_ON.test(name) || (withAccount && ACCOUNT.test(name));
  const kept = Object.entries(inherited).filter(([name]) => isKept(name));
  return { PATH: USUAL_PATH, ...Object.fromEntries(kept) };
}

/** As login programs set them. A shell that lets nobody in runs no commands either. */
function accountOf({ uid, name = `${uid}`, home, shell }: Login): NodeJS.ProcessEnv {
  const isShell = shell !== '' && !/\/(?:nologin|false)$/.test(shell);
  return { HOME: home || '/', USER: name, LOGNAME: name, SHELL: isShell ? shell : '/bin/sh' };
}
