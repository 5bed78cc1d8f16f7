/** Which capabilities a process has, by its /proc/PID/status (capabilities(7)). */

/** Their bits, of those that somebody asks for. */
const BITS = { CAP_KILL: 5n, CAP_SETGID: 6n, CAP_SETUID: 7n, CAP_SYS_ADMIN: 21n } as const;

export type Capability = keyof typeof BITS;

/** Those of `names` that are not in effect. `status`: the text of the file; without the line of it nothing is in effect. */
export function lackedCapabilities(status: string, names: readonly Capability[]): Capability[] {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  return names.filter((name) => ((effective >> BITS[name]) & 1n) === 0n);
}
