/** `litefs-lite token`: the line to paste on a machine that is to be a replica of this one. */

import os from 'node:os';
import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { formatAddress, isLoopback } from '../config/values.ts';
import { LiteFsError } from '../errors.ts';
import { encodeToken, type JoinToken } from './join-token.ts';
import { lanHost } from './lan-host.ts';
import { printLine } from './print.ts';

/** Prints the token alone on standard output. Throws CONFIG when no replica could use it, WRONG_STATE on a replica. */
export function token(flags: { readonly config?: string }): number {
  const surroundings = { env: process.env, cwd: process.cwd(), expandEnv: true };
  const { config, file } = loadConfig(flags.config, surroundings);
  const host = lanHost(os.networkInterfaces(), os.hostname());
  const text = encodeToken(tokenOf(config, file, host));
  if (process.stdout.isTTY) {
    process.stderr.write('Whoever has this line can read all databases. On the replica:\n\n');
    process.stderr.write('litefs-lite init --token ');
  }
  printLine(text);
  return 0;
}

/** `host`: by what others reach this machine, when the config does not say it. */
export function tokenOf(config: Config, file: string, host: string): JoinToken {
  const { lease, replication, http } = config;
  if (!lease.candidate) {
    throw new LiteFsError('WRONG_STATE', `${file} makes this node a replica`, {
      hint: `Run it on the primary${replication.primary ? `, ${replication.primary.host}` : ''}.`,
    });
  }
  if (replication.secret === undefined) {
    throw new LiteFsError(
      'CONFIG',
      `${file} has no replication.secret, so there is nothing to hand on`,
      {
        hint: 'Write one, or have it made with all the rest: litefs-lite init --primary --force',
      },
    );
  }
  const advertised = lease.advertiseUrl === undefined ? undefined : new URL(lease.advertiseUrl);
  const reached = advertised?.hostname.replace(/^\[|\]$/g, '') ?? host;
  if (isLoopback(replication.addr.host) && !isLoopback(reached)) {
    const addr = formatAddress(replication.addr);
    throw new LiteFsError(
      'CONFIG',
      `${file}: replication.addr is ${addr}: no other machine can connect`,
      {
        hint: `Write replication.addr: ":${replication.addr.port}", then: systemctl restart litefs-lite`,
      },
    );
  }
  return {
    host: reached,
    replicationPort: replication.addr.port,
    httpPort: advertised
      ? Number(advertised.port) || DEFAULT_PORTS[advertised.protocol]
      : http.addr.port,
    secret: replication.secret,
  };
}

const DEFAULT_PORTS: Record<string, number> = { 'http:': 80, 'https:': 443 };
