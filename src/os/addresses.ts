/** Addresses of peers: how they are written, which are one crowd, and which are trusted. */
import net from 'node:net';

/** Addresses that have their first bits in common; IPv4 as such, not inside IPv6. */
export interface AddressRange {
  readonly address: string;
  /** Bits: 0 to 32, or to 128. */
  readonly prefix: number;
}

/** Of a connection that has closed before it was asked. */
const UNKNOWN = 'unknown';

/** An address as others know it: IPv4 as IPv4 also where the socket takes both, and without the interface. */
export function plainAddress(address: string | undefined): string {
  if (address === undefined) return UNKNOWN;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  const zone = address.indexOf('%');
  return zone < 0 ? address : address.slice(0, zone);
}

/** Those that are counted as one: whoever has an address of IPv6 mostly has all with its first 64 bits. */
export function crowdOf(plain: string): string {
  if (!net.isIPv6(plain)) return plain;
  // As a URL has them, which is the one form of RFC 5952.
  const [head, tail = ''] = new URL(`http://[${plain}]`).hostname.slice(1, -1).split('::');
  const groups = [head, tail].map((part) => (part === '' ? [] : part.split(':')));
  const gap = Array<string>(8 - groups[0].length - groups[1].length).fill('0');
  const network = [...groups[0], ...gap, ...groups[1]].slice(0, 4);
  return `${network.join(':')}::/64`;
}

/** The peers whose word on their clients is taken. */
export class TrustedAddresses {
  readonly #list: net.BlockList | undefined;

  constructor(ranges: readonly AddressRange[]) {
    if (ranges.length === 0) return;
    this.#list = new net.BlockList();
    for (const { address, prefix } of ranges) {
      this.#list.addSubnet(address, prefix, familyOf(address));
    }
  }

  /** `plain`: see plainAddress. */
  has(plain: string): boolean {
    return this.#list !== undefined && net.isIP(plain) !== 0
      ? this.#list.check(plain, familyOf(plain))
      : false;
  }
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return net.isIPv6(address) ? 'ipv6' : 'ipv4';
}
