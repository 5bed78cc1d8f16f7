/**
 * Which node a command asks: --url, else the node of the config that is named or found, else the one with the default port
 * here. The last two are asked at their socket, which knows who asks; a node elsewhere is shown $LITEFS_SECRET, or
 * $LITEFS_STATUS_TOKEN.
 */
import { urlHost } from '../config/initial.ts';
import {
  type LoadedConfig,
  loadConfigAlone,
  loadNodePlace,
  type Surroundings,
} from '../config/load.ts';
import type { Address } from '../config/values.ts';
import { LiteFsError } from '../errors.ts';
import { shellWord } from './shell-word.ts';

/** The flags of every command that asks a node. */
export interface NodeFlags {
  readonly url?: string;
  readonly config?: string;
}

/** A node that is to be asked. */
export interface NodeAddress {
  readonly url: string;
  /** Whether the user has named it: by --url. */
  readonly isNamed: boolean;
  /** Its socket, when it is a node of this machine. Throws CONFIG when the config does not say where that is. */
  readonly socket: () => string | undefined;
  /** What is shown at the URL when something is asked for that is not for everybody. */
  readonly secret: string | undefined;
  /** What is shown at the URL when the node wants something for its status. */
  readonly statusToken: string | undefined;
}

/** Throws USAGE when --url is none, CONFIG when the config does not say where its node listens. */
export function nodeAt(flags: NodeFlags, surroundings = ownSurroundings()): NodeAddress {
  const secret = surroundings.env.LITEFS_SECRET || undefined;
  const statusToken = surroundings.env.LITEFS_STATUS_TOKEN || secret;
  const place = () => loadNodePlace(flags.config, surroundings);
  if (flags.url === undefined) {
    const { httpAddr, socket } = place();
    return { url: urlOf(httpAddr), isNamed: false, socket: () => socket, secret, statusToken };
  }
  const url = wholeUrl(flags.url);
  const socket = () => {
    // Who names a node and has its secret needs no config.
    if (secret !== undefined) return undefined;
    const { httpAddr, socket } = place();
    return isSameNode(url, httpAddr) ? socket : undefined;
  };
  return { url, isNamed: true, socket, secret, statusToken };
}

/** A node of which only the URL is known, for what everybody may ask, or who has that token. */
export function nodeElsewhere(url: string, statusToken?: string): NodeAddress {
  return { url, isNamed: true, socket: () => undefined, secret: undefined, statusToken };
}

function wholeUrl(url: string): string {
  const whole = /^[a-z]+:\/\//i.test(url) ? url : `http://${url}`;
  if (URL.canParse(whole) && /^https?:/i.test(whole)) return whole;
  throw new LiteFsError('USAGE', `${url} is no address of a node`, {
    hint: 'Write it like http://HOST:20202',
  });
}

/** The same flags, to be repeated in a command that is proposed; each with a blank before it. */
export function repeated(flags: NodeFlags & { readonly dir?: string }): string {
  return (['url', 'config', 'dir'] as const)
    .map((name) => (flags[name] === undefined ? '' : ` --${name} ${shellWord(flags[name])}`))
    .join('');
}

/** Without what is in its secret file. Throws CONFIG. */
export function ownConfig(file: string | undefined): LoadedConfig {
  return loadConfigAlone(file, ownSurroundings());
}

function ownSurroundings(): Surroundings {
  return { env: process.env, cwd: process.cwd(), expandEnv: true };
}

const ANY_HOST = new Set([undefined, '0.0.0.0', '::']);

/** A listener of this machine, as this machine reaches it. */
export function urlOf({ host, port }: Address): string {
  return `http://${ANY_HOST.has(host) ? '127.0.0.1' : urlHost(host as string)}:${port}`;
}

/** Whether --url leads to where a config has its node listen. `localhost` is what it mostly is. */
function isSameNode(url: string, addr: Address): boolean {
  const { protocol, hostname, port } = new URL(url);
  const own = new URL(urlOf(addr));
  const isOwnHost =
    hostname === own.hostname || (hostname === 'localhost' && own.hostname === '127.0.0.1');
  return protocol === own.protocol && port === own.port && isOwnHost;
}
