/**
 * Who listens at a port of TCP, by /proc. A line of /proc/net/tcp, numbers in hex but the inode:
 *
 *     sl: local address:port remote address:port state tx:rx timer:when retransmits uid timeout inode
 *     0: 0100007F:4EEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 12345 ...
 *
 * State 0A is LISTEN.
 */
import { commandOf, linkOf, namesIn, processIds, textOf } from './proc.ts';

export interface Listener {
  readonly pid: number;
  /** Name of the program, at most 15 chars. */
  readonly command: string;
}

/** Inodes of the sockets that listen at a port. */
export function listeningInodes(table: string, port: number): string[] {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  return table.split('\n').flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    const isIt = fields[1]?.endsWith(`:${wanted}`) && fields[3] === '0A';
    return isIt ? [fields[9]] : [];
  });
}

/** Processes that listen at a port, as far as we may know. */
export function listenersAt(port: number): Listener[] {
  const tables = ['/proc/net/tcp', '/proc/net/tcp6'].map(textOf);
  const links = new Set(
    tables.flatMap((table) => listeningInodes(table, port)).map((inode) => `socket:[${inode}]`),
  );
  if (links.size === 0) return [];
  return processIds()
    .filter((pid) =>
      namesIn(`/proc/${pid}/fd`).some((fd) => links.has(linkOf(`/proc/${pid}/fd/${fd}`))),
    )
    .map((pid) => ({ pid: Number(pid), command: commandOf(pid) }));
}
