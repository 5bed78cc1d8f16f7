/** Who may connect: so many in all, so many for one address, and none when descriptors are short. Pure. */
import { crowdOf } from '../os/addresses.ts';

export interface GateSettings {
  /** In all; 0 is none of them, of this and the next. */
  readonly connectionsMax: number;
  readonly connectionsPerAddressMax: number;
  /** How many descriptors this process may have. */
  readonly descriptorsMax: number;
}

/** So much of the descriptors is left to the rest of the node: databases, the log, replication, the HTTP port. */
const RESERVED_SHARE = 0.25;
const RESERVED_MAX = 4096;

/**
 * The numbers of descriptors from which a connection is refused: of a client, and to the application or the primary. The kernel
 * gives the lowest that is free, so the number of a new one says how many there are at least. Who was let in is still answered
 * when nobody is let in any more.
 */
export function descriptorBounds(descriptorsMax: number): { client: number; upstream: number } {
  const reserved = Math.min(RESERVED_MAX, Math.ceil(descriptorsMax * RESERVED_SHARE));
  return { client: descriptorsMax - reserved, upstream: descriptorsMax - Math.ceil(reserved / 2) };
}

export class Gate {
  readonly #settings: GateSettings;
  readonly #clientDescriptorsMax: number;
  /** Whether an address may have any number: many clients are behind it. */
  readonly #isMany: (address: string) => boolean;
  readonly #byCrowd = new Map<string, number>();
  #count = 0;

  constructor(settings: GateSettings, isMany: (address: string) => boolean) {
    this.#settings = settings;
    this.#isMany = isMany;
    this.#clientDescriptorsMax = descriptorBounds(settings.descriptorsMax).client;
  }

  /** How many are connected. */
  get count(): number {
    return this.#count;
  }

  /** Counts a connection, unless it is refused: then with the reason, in plain words. `descriptor`: its number. */
  enter(address: string, descriptor: number): string | undefined {
    const { connectionsMax, connectionsPerAddressMax, descriptorsMax } = this.#settings;
    if (descriptor >= this.#clientDescriptorsMax) {
      return `descriptors are short (the process may have ${descriptorsMax})`;
    }
    if (connectionsMax > 0 && this.#count >= connectionsMax) {
      return `there are ${connectionsMax} connections (proxy.max-connections)`;
    }
    const crowd = crowdOf(address);
    const ofCrowd = this.#byCrowd.get(crowd) ?? 0;
    const isFull = connectionsPerAddressMax > 0 && ofCrowd >= connectionsPerAddressMax;
    if (isFull && !this.#isMany(address)) {
      return `one address has ${connectionsPerAddressMax} connections (proxy.max-connections-per-address)`;
    }
    this.#count++;
    this.#byCrowd.set(crowd, ofCrowd + 1);
    return undefined;
  }

  /** One that was let in has gone. */
  leave(address: string): void {
    this.#count--;
    const crowd = crowdOf(address);
    const left = (this.#byCrowd.get(crowd) ?? 0) - 1;
    if (left > 0) this.#byCrowd.set(crowd, left);
    else this.#byCrowd.delete(crowd);
  }
}
