/** Which processes listen at a port of TCP, by /proc. */
import { commandOf, linkOf, namesIn, processIds } from './proc.ts';
import { tcpSockets } from './tcp-table.ts';

export interface Listener {
  readonly pid: number;
  /** Name of the program, at most 15 chars. */
  readonly command: string;
}

/** Processes that listen at a port, as far as we may know. */
export function listenersAt(port: number): Listener[] {
  const listening = tcpSockets().filter(
    (each) => each.state === 'listening' && each.local.port === port,
  );
  const links = new Set(listening.map(({ inode }) => `socket:[${inode}]`));
  if (links.size === 0) return [];
  return processIds()
    .filter((pid) =>
      namesIn(`/proc/${pid}/fd`).some((fd) => links.has(linkOf(`/proc/${pid}/fd/${fd}`))),
    )
    .map((pid) => ({ pid: Number(pid), command: commandOf(pid) }));
}
