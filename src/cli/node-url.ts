/**
 * Which node a command asks: --url, else the http.addr of the config that is named or found, else the default port here;
 * and what it may show it.
 */
import { urlHost } from '../config/initial.ts';
import {
  type LoadedConfig,
  loadConfig,
  loadNodePlace,
  type NodePlace,
  type Surroundings,
} from '../config/load.ts';
import type { Address } from '../config/values.ts';
import { LiteFsError } from '../errors.ts';
import { type Credentials, givenSecret, localSecretOf, noSecret } from './credentials.ts';
import { shellWord } from './shell-word.ts';

/** The flags of every command that asks a node. */
export interface NodeFlags {
  readonly url?: string;
  readonly config?: string;
}

/** A node that is to be asked. */
export interface NodeAddress {
  readonly url: string;
  /** What to show when something is asked for that is not for everybody. Throws CONFIG. */
  readonly credentials: () => Credentials;
}

/** Throws USAGE when --url is none, CONFIG when the config does not say where its node listens. */
export function nodeAt(flags: NodeFlags, surroundings = ownSurroundings()): NodeAddress {
  const url = flags.url === undefined ? undefined : wholeUrl(flags.url);
  const given = surroundings.env.LITEFS_SECRET;
  let place: NodePlace | undefined;
  const placed = () => (place ??= loadNodePlace(flags.config, surroundings));
  return {
    url: url ?? urlOf(placed().httpAddr),
    credentials: () => {
      if (given) return givenSecret(given);
      const { httpAddr, dirs } = placed();
      return url === undefined || isSameNode(url, httpAddr) ? localSecretOf(dirs()) : noSecret();
    },
  };
}

/** Its URL alone, for what everybody may ask. Throws as nodeAt does. */
export function nodeUrl(flags: NodeFlags, surroundings = ownSurroundings()): string {
  return nodeAt(flags, surroundings).url;
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

export function ownConfig(file: string | undefined): LoadedConfig {
  return loadConfig(file, ownSurroundings());
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
