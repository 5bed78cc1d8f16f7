/**
 * By which names this node is asked: those of the config, and of the machine: its own, that of mDNS, and those that the
 * resolver makes of it. One that is made up by somebody else, as `box1.evil.example`, is not among them.
 */
import fs from 'node:fs';
import os from 'node:os';
import type { Config } from '../config/config.ts';
import { hostName } from '../http/host.ts';

export type NamedConfig = Pick<Config, 'http' | 'lease'>;

/** Of the machine as it is now. */
export interface Machine {
  readonly hostname: string;
  /** The content of /etc/resolv.conf. */
  readonly resolver: string;
}

/** Whether a name, in lower case, is one of this node's. */
export function isOwnName(name: string, config: NamedConfig): boolean {
  if (configured(config).has(name)) return true;
  return machineNames(thisMachine()).has(name);
}

function configured({ http, lease }: NamedConfig): Set<string> {
  const { hostname: advertised } = URL.parse(lease.advertiseUrl ?? '') ?? {};
  const names = [...http.hosts, http.addr.host, lease.hostname, advertised];
  return new Set(names.flatMap((name) => (name ? (hostName(name) ?? []) : [])));
}

export function machineNames({ hostname, resolver }: Machine): Set<string> {
  const whole = hostname.toLowerCase();
  const [label] = whole.split('.');
  const domains = resolver
    .split('\n')
    .flatMap((line) => /^\s*(?:search|domain)\s+(.*)$/.exec(line)?.[1].split(/\s+/) ?? [])
    .map((domain) => domain.toLowerCase().replace(/\.$/, ''))
    .filter((domain) => domain !== '');
  return new Set([whole, label, ...['local', ...domains].map((domain) => `${label}.${domain}`)]);
}

function thisMachine(): Machine {
  let resolver = '';
  try {
    resolver = fs.readFileSync('/etc/resolv.conf', 'utf8');
  } catch {
    // It has no domains then.
  }
  return { hostname: os.hostname(), resolver };
}
