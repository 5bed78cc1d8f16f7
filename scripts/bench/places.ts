/** Where the benchmarks put databases: a plain directory, and mounts on the same disk. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {
  Cluster,
  inSync,
  type Passthrough,
  startCluster,
  type TestNode,
} from '../../test/harness/cluster.ts';

export interface Place {
  readonly label: string;
  /** Where to write a database. */
  file(name: string): string;
  /** Where its readers are. */
  copy(name: string): string;
  /** Resolves when all is quiet after writes to a database. */
  settled(name: string): Promise<void>;
  close(): Promise<void>;
}

export interface ReplicatedPlace extends Place {
  readonly cluster: Cluster;
  readonly primary: TestNode;
  readonly replica: TestNode;
}

export const PLAIN = 'plain directory';
export const ALONE = 'mount, no replica';
export const REPLICATED = 'mount, replica';
export const INTERCEPTED = 'mount, replica, no passthrough';

/** Daemons log as they do by default. */
const CONFIG = { log: { debug: false } };
/** All places of a measurement are on one disk. */
const BASE = os.tmpdir();

/** In the folder for temporary files, as the nodes are. */
export function plainPlace(): Place {
  const cluster = new Cluster(BASE);
  const file = (name: string) => path.join(cluster.dir, name);
  return {
    label: PLAIN,
    file,
    copy: file,
    settled: () => Promise.resolve(),
    close: () => cluster.close(),
  };
}

export async function mountAlone(): Promise<Place> {
  const { cluster, primary } = await startCluster('auto', {
    replicas: 0,
    config: CONFIG,
    base: BASE,
  });
  const file = (name: string) => primary.file(name);
  return {
    label: ALONE,
    file,
    copy: file,
    settled: () => Promise.resolve(),
    close: () => cluster.close(),
  };
}

export async function mountReplicated(passthrough: Passthrough): Promise<ReplicatedPlace> {
  const { cluster, primary, replica } = await startCluster(passthrough, {
    config: CONFIG,
    base: BASE,
  });
  return {
    label: passthrough === 'auto' ? REPLICATED : INTERCEPTED,
    cluster,
    primary,
    replica,
    file: (name) => primary.file(name),
    copy: (name) => replica.file(name),
    settled: (name) => inSync(primary, replica, name),
    close: () => cluster.close(),
  };
}

/** Removes a database with what belongs to it. */
export function discard(file: string): void {
  for (const suffix of ['', '-wal', '-shm', '-journal'])
    fs.rmSync(`${file}${suffix}`, { force: true });
}

/** Runs with the places, and closes them whatever comes of it. */
export async function withPlaces<P extends Place, T>(
  starting: readonly (P | Promise<P>)[],
  use: (...places: P[]) => Promise<T>,
): Promise<T> {
  const outcomes = await Promise.allSettled(starting);
  const places = outcomes.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  try {
    const failed = outcomes.find((one) => one.status === 'rejected');
    if (failed) throw failed.reason;
    return await use(...places);
  } finally {
    for (const place of places) await place.close();
  }
}
