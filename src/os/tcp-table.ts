/**
 * The sockets of TCP on this machine, by /proc, and the users that they belong to. A line of /proc/net/tcp, numbers in hex
 * but the user and the inode; of /proc/net/tcp6 the same with longer addresses:
 *
 *     sl: local address:port remote address:port state tx:rx timer:when retransmits uid timeout inode
 *     0: 0100007F:4EEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 12345 ...
 *
 * An address is words of 32 bits, each in the byte order of the machine. State 0A is LISTEN, 01 is ESTABLISHED.
 */
import net from 'node:net';
import { textOf } from './proc.ts';

export interface TcpSocket {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /** Only in these two states `uid` is that of an owner: of one that is closed older kernels say root. */
  readonly state: 'listening' | 'connected' | 'other';
  /** Of the process that made it. */
  readonly uid: number;
  readonly inode: string;
}

export interface Endpoint {
  /** As `net.Socket` has it; an IPv4 address that an IPv6 socket uses is written as one of IPv4. */
  readonly address: string;
  readonly port: number;
}

export type Ends = Pick<TcpSocket, 'local' | 'remote'>;

const STATES: Readonly<Record<string, TcpSocket['state']>> = {
  '01': 'connected',
  '0A': 'listening',
};
/** No process has it, or none yet. */
const NO_INODE = '0';
/** The table is read in pieces: a line may be missed while those before it come and go. */
const LOOKS = 3;

/** All of them. Empty when /proc does not say. */
export function tcpSockets(): TcpSocket[] {
  return ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((file) => parseTcpTable(textOf(file)));
}

/** Reads the text of a table; lines that are none are left out. */
export function parseTcpTable(table: string): TcpSocket[] {
  return table.split('\n').flatMap((line) => {
    const [, local, remote, state, , , , uid, , inode] = line.trim().split(/\s+/);
    if (inode === undefined || !/^[0-9A-F]+:[0-9A-F]{4}$/.test(local)) return [];
    return [
      {
        local: endpoint(local),
        remote: endpoint(remote),
        state: inode === NO_INODE ? 'other' : (STATES[state] ?? 'other'),
        uid: Number(uid),
        inode,
      },
    ];
  });
}

/** The user that has connected to us from this machine. undefined: that is not known, or it is another machine. */
export function ownerOfPeer({ local, remote }: Ends): number | undefined {
  return look(
    (sockets) =>
      sockets.find(
        (each) =>
          each.state === 'connected' && isSame(each.local, remote) && isSame(each.remote, local),
      )?.uid,
  );
}

/** Both ends of a connection. undefined: there is none any more. */
export function endsOf(socket: net.Socket): Ends | undefined {
  const { localAddress, localPort, remoteAddress, remotePort } = socket;
  if (!localAddress || !localPort || !remoteAddress || !remotePort) return undefined;
  return {
    local: { address: plain(localAddress), port: localPort },
    remote: { address: plain(remoteAddress), port: remotePort },
  };
}

function look(find: (sockets: readonly TcpSocket[]) => number | undefined): number | undefined {
  for (let looks = 0; looks < LOOKS; looks++) {
    const uid = find(tcpSockets());
    if (uid !== undefined) return uid;
  }
  return undefined;
}

function isSame(a: Endpoint, b: Endpoint): boolean {
  return a.port === b.port && a.address === b.address;
}

function endpoint(text: string): Endpoint {
  const [hex, port] = text.split(':');
  const bytes = Buffer.from(hex, 'hex').swap32();
  const address =
    bytes.length === 4 ? bytes.join('.') : bytes.toString('hex').replace(/(....)(?=.)/g, '$1:');
  return { address: plain(address), port: Number.parseInt(port, 16) };
}

/** As inet_ntop(3) writes it; of an IPv4 address in an IPv6 one only that. */
function plain(address: string): string {
  if (net.isIPv4(address)) return address;
  const [withoutZone] = address.split('%');
  const written = new net.SocketAddress({ address: withoutZone, family: 'ipv6' }).address;
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(written)?.[1] ?? written;
}
