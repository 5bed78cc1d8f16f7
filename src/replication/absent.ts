/** Nodes that have followed this one and do not now, so that their absence can be told by name. In memory only. */
import type { Position } from '../ltx/position.ts';
import type { Clock, ReplicaInfo } from './parts.ts';

/** A node that is away, as it was when it went. */
export interface AbsentInfo {
  readonly nodeId: string;
  readonly hostname: string;
  readonly address: string;
  readonly goneAtMs: number;
  /** For how long it has not had everything, ms; 0 when nothing was committed since. */
  readonly behindMs: number;
  /** Applied, by database, as last heard. */
  readonly positions: ReadonlyMap<string, Position>;
}

interface Absence {
  readonly info: ReplicaInfo;
  readonly goneAtMs: number;
  readonly goneMs: number;
  /** Since when it has not had everything, monotonic ms. */
  lacksSinceMs: number | undefined;
}

/** One that stays away for longer was taken out of service. */
const ABSENT_MS_MAX = 7 * 24 * 3600_000;
const ABSENT_MAX = 256;

export class Absentees {
  readonly #clock: Clock;
  /** By node ID, the one that went first at the beginning. */
  readonly #absences = new Map<string, Absence>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  left(info: ReplicaInfo): void {
    const goneMs = this.#clock.monotonicMs();
    const lacksSinceMs = info.behindMs > 0 ? goneMs - info.behindMs : undefined;
    const positions = new Map(info.positions);
    this.#absences.delete(info.nodeId);
    this.#absences.set(info.nodeId, {
      info: { ...info, positions },
      goneAtMs: this.#clock.wallMs(),
      goneMs,
      lacksSinceMs,
    });
    const [oldest] = this.#absences.keys();
    if (this.#absences.size > ABSENT_MAX) this.#absences.delete(oldest);
  }

  returned(nodeId: string): void {
    this.#absences.delete(nodeId);
  }

  /** A transaction that those who are away do not get. */
  committed(database: string): void {
    for (const absence of this.#absences.values()) {
      if (absence.info.wants(database)) absence.lacksSinceMs ??= this.#clock.monotonicMs();
    }
  }

  list(): AbsentInfo[] {
    const now = this.#clock.monotonicMs();
    for (const [nodeId, { goneMs }] of this.#absences) {
      if (now - goneMs > ABSENT_MS_MAX) this.#absences.delete(nodeId);
    }
    return [...this.#absences.values()].map(({ info, goneAtMs, lacksSinceMs }) => {
      const { nodeId, hostname, address, positions } = info;
      const behindMs = lacksSinceMs === undefined ? 0 : now - lacksSinceMs;
      return { nodeId, hostname, address, goneAtMs, behindMs, positions };
    });
  }
}
