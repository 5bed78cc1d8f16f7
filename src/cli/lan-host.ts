/** By what other machines of the network reach this one: its address there, or its name. */
import net from 'node:net';
import type { NetworkInterfaceInfo } from 'node:os';

export type Interfaces = Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>;

/** Made by programs, for machines and containers on this one, or for tunnels. */
const VIRTUAL =
  /^(docker|br-|veth|virbr|vnet|lxc|lxd|cni|flannel|cali|podman|tun|tap|wg|tailscale|zt)/;

const lan = new net.BlockList();
lan.addSubnet('10.0.0.0', 8, 'ipv4');
lan.addSubnet('172.16.0.0', 12, 'ipv4');
lan.addSubnet('192.168.0.0', 16, 'ipv4');
lan.addSubnet('fc00::', 7, 'ipv6');

/** Only of use with the name of an interface, or given to a machine that nobody has given one. */
const unroutable = new net.BlockList();
unroutable.addSubnet('169.254.0.0', 16, 'ipv4');
unroutable.addSubnet('fe80::', 10, 'ipv6');

/** Addresses of this machine, the likeliest first. */
export function lanAddresses(interfaces: Interfaces): string[] {
  const found = Object.entries(interfaces).flatMap(([name, addresses = []]) =>
    addresses
      .filter(
        ({ internal, address, family }) => !internal && !unroutable.check(address, kind(family)),
      )
      .map(({ address, family }) => ({
        address,
        // A real interface before a virtual one, IPv4 before IPv6, private before public.
        rank:
          (VIRTUAL.test(name) ? 4 : 0) +
          (lan.check(address, kind(family)) ? 0 : 1) +
          (family === 'IPv4' ? 0 : 2),
      })),
  );
  return found.sort((a, b) => a.rank - b.rank).map(({ address }) => address);
}

/** The likeliest address, or the name when there is none. */
export function lanHost(interfaces: Interfaces, hostname: string): string {
  return lanAddresses(interfaces)[0] ?? hostname;
}

function kind(family: string): 'ipv4' | 'ipv6' {
  return family === 'IPv6' ? 'ipv6' : 'ipv4';
}
