/** Whether the node can listen where the config says, or does. */
import { type Address, formatAddress } from '../../config/values.ts';
import type { Listener } from '../../os/listeners.ts';
import { type Finding, fail, ok, warn } from './finding.ts';

export interface Port {
  /** The field of the config. */
  readonly field: string;
  readonly address: Address;
  /** What listening there failed with; undefined: it could be done, so nobody does. */
  readonly error: string | undefined;
  /** Who listens at that port, as far as it is known. */
  readonly holders: readonly Listener[];
}

export interface LocalSocket {
  readonly file: string;
  /** What connecting failed with. */
  readonly error: string | undefined;
  /** Whether this machine has the group whose members may use it. */
  readonly hasGroup: boolean;
}

/** Of a node that runs: whether its commands reach it. */
export function checkSocket({ file, error, hasGroup }: LocalSocket): Finding {
  const users = hasGroup ? 'root and the group litefs-lite' : 'root';
  if (error === undefined) return ok('socket', `${file} answers ${users} (http.socket)`);
  if (error === 'EACCES') return ok('socket', `${file} is for ${users} (http.socket)`);
  return warn(
    'socket',
    `the node runs, and does not answer at ${file} (http.socket): ${error}`,
    'Commands that change or hand out databases need it. Has the config changed? systemctl restart litefs-lite',
  );
}

/** `pid`: of our node; undefined when it does not run. */
export function checkPort(
  { field, address, error, holders }: Port,
  pid: number | undefined,
): Finding {
  const where = formatAddress(address);
  if (error === undefined) {
    return pid === undefined
      ? ok('port', `${where} is free (${field})`)
      : warn(
          'port',
          `the node runs, and does not listen at ${where} (${field})`,
          'Has the config changed? systemctl restart litefs-lite',
        );
  }
  if (error === 'EADDRINUSE') {
    if (pid !== undefined && (holders.length === 0 || holders.some((each) => each.pid === pid))) {
      return ok('port', `${where} is taken by this node (${field})`);
    }
    const who = holders.map(({ command, pid: other }) => `${command} (${other})`).join(', ');
    return fail(
      'port',
      `${where} is taken by ${who || 'another program'} (${field})`,
      `Set ${field} to a free port, or stop it.`,
    );
  }
  if (error === 'EADDRNOTAVAIL') {
    return fail(
      'port',
      `${where} is no address of this machine (${field})`,
      `Write ":${address.port}", or an address that "ip address" shows.`,
    );
  }
  return fail(
    'port',
    `${where} may not be listened at (${field}): ${error}`,
    'Run as root, or take a port above 1023.',
  );
}
