/** Where a node answers: --url, else the http.addr of the config that is named or found, else the default port here. */
import { urlHost } from '../config/initial.ts';
import { type LoadedConfig, loadConfig, loadHttpAddr, type Surroundings } from '../config/load.ts';
import type { Address } from '../config/values.ts';
import { LiteFsError } from '../errors.ts';
import { shellWord } from './shell-word.ts';

/** The flags of every command that asks a node. */
export interface NodeFlags {
  readonly url?: string;
  readonly config?: string;
}

const DEFAULT_PORT = 20202;

/** Throws USAGE when --url is none, CONFIG when the config does not say where its node listens. */
export function nodeUrl({ url, config }: NodeFlags, surroundings = ownSurroundings()): string {
  if (url === undefined) {
    return urlOf(loadHttpAddr(config, surroundings) ?? { host: undefined, port: DEFAULT_PORT });
  }
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
