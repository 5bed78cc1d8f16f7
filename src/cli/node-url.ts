/** Where this machine's node answers: --url, or the http.addr of its config. */
import { urlHost } from '../config/initial.ts';
import { type LoadedConfig, loadConfig } from '../config/load.ts';
import type { Address } from '../config/values.ts';

/** Throws CONFIG when neither is said nor found. */
export function nodeUrl(flags: { readonly url?: string; readonly config?: string }): string {
  return flags.url ?? urlOf(ownConfig(flags.config).config.http.addr);
}

export function ownConfig(file: string | undefined): LoadedConfig {
  return loadConfig(file, { env: process.env, cwd: process.cwd(), expandEnv: true });
}

const ANY_HOST = new Set([undefined, '0.0.0.0', '::']);

/** A listener of this machine, as this machine reaches it. */
export function urlOf({ host, port }: Address): string {
  return `http://${ANY_HOST.has(host) ? '127.0.0.1' : urlHost(host as string)}:${port}`;
}
