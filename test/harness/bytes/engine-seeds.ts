/** Data directories of nodes, as they stop and as they die, and entries of a log: what hostile files and entries begin with. */
import fs from 'node:fs';
import path from 'node:path';
import type { DatabaseInfo, WireEntry } from '../../../src/engine/protocol.ts';
import { lookOf, type Marker, saveMarker } from '../../../src/store/marker.ts';
import { EngineStand } from '../engine-stand.ts';
import { journalDatabase, walDatabase } from './sqlite-files.ts';

export type Role = 'primary' | 'replica';

export interface Seed {
  readonly role: Role;
  /** Content by path below the data directory. */
  readonly files: ReadonlyMap<string, Buffer>;
  /** Where each database stands. */
  readonly txids: ReadonlyMap<string, number>;
}

export interface EngineSeeds {
  readonly seeds: readonly Seed[];
  readonly replica: Seed;
  /** What replicas have not got yet, in order, of the database app.db. */
  readonly next: readonly Buffer[];
  /** All entries, also of other databases. */
  readonly entries: readonly Buffer[];
}

export const APP = 'app.db';
export const OTHER = 'folder/other.db';
const NEXT_SQL = 'INSERT INTO t(data) VALUES(1); UPDATE t SET data = 2 WHERE id % 5 = 0;';

export async function makeSeeds(folder: string): Promise<EngineSeeds> {
  const dir = path.join(folder, 'seed-primary');
  const primary = new EngineStand(dir);
  const wal = walDatabase(folder, 512);
  const old = journalDatabase(folder, 1024, 'FULL');
  fs.mkdirSync(path.dirname(primary.file(OTHER)), { recursive: true });
  fs.writeFileSync(primary.file(APP), wal.db);
  fs.writeFileSync(`${primary.file(APP)}-wal`, wal.wal ?? Buffer.alloc(0));
  fs.writeFileSync(primary.file(OTHER), old.db);
  await primary.start();
  await primary.call('flush', {});
  await primary.commit(APP, 'PRAGMA wal_autocheckpoint=0; INSERT INTO t(data) VALUES(0);');
  const early = entriesOf(primary);
  for (let i = 0; i < 2; i++) await primary.commit(APP, NEXT_SQL);
  const all = entriesOf(primary);
  const died = await seedOf('primary', dir, primary);
  await primary.stop();
  const stopped = { ...died, files: filesBelow(dir) };
  const replicaDir = path.join(folder, 'seed-replica');
  const replica = new EngineStand(replicaDir, { role: 'replica' });
  await replica.start();
  for (const { database, bytes } of early) {
    await replica.call('apply', { database, source: { bytes } });
  }
  const replicaDied = await seedOf('replica', replicaDir, replica);
  await replica.stop();
  const replicaStopped = { ...replicaDied, files: filesBelow(replicaDir) };
  for (const made of [dir, replicaDir]) fs.rmSync(made, { recursive: true, force: true });
  const next = all.slice(early.length).map(({ bytes }) => bytes);
  return {
    seeds: [died, stopped, replicaDied, replicaStopped],
    replica: replicaDied,
    next,
    entries: all.map(({ bytes }) => bytes),
  };
}

/** Makes a data directory of it. A marker of a clean stop is of the files as they are now. */
export function writeSeed(seed: Seed, dir: string): void {
  for (const [name, bytes] of seed.files) {
    const file = path.join(dir, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, bytes);
  }
  for (const database of seed.txids.keys()) {
    const file = path.join(dir, 'state', `${database.replace('/', '%2f')}.json`);
    if (!fs.existsSync(file)) continue;
    const marker = JSON.parse(fs.readFileSync(file, 'utf8')) as Marker;
    const look = (suffix: string) => {
      const inTree = path.join(dir, 'tree', database + suffix);
      return lookOf(fs.statSync(inTree, { bigint: true, throwIfNoEntry: false }));
    };
    const position = { ...marker.position, checksum: BigInt(`0x${marker.position.checksum}`) };
    saveMarker(file, {
      ...marker,
      position,
      database: look('') ?? marker.database,
      wal: look('-wal'),
    });
  }
}

function entriesOf(stand: EngineStand): { database: string; bytes: Buffer }[] {
  return stand.news.flatMap((news) => {
    if (news.kind !== 'entry') return [];
    const { database, source } = news.entry as WireEntry;
    if ('bytes' in source) return [{ database, bytes: Buffer.from(source.bytes) }];
    const whole = fs.readFileSync(source.path);
    return [{ database, bytes: whole.subarray(source.offset, source.offset + source.length) }];
  });
}

async function seedOf(role: Role, dir: string, stand: EngineStand): Promise<Seed> {
  const infos: readonly DatabaseInfo[] = await stand.call('info', {});
  const txids = new Map(infos.map(({ name, position }) => [name, position.txid]));
  return { role, files: filesBelow(dir), txids };
}

function filesBelow(dir: string): Map<string, Buffer> {
  const names = fs.readdirSync(dir, { recursive: true, withFileTypes: true });
  return new Map(
    names
      .filter((entry) => entry.isFile())
      .map((entry) => path.join(entry.parentPath, entry.name))
      .sort()
      .map((file) => [path.relative(dir, file), fs.readFileSync(file)]),
  );
}

/** Runs `body` with an engine on a new folder, and lets go of whatever that has left open. */
export async function withEngine<T>(
  folder: string,
  seed: Seed,
  body: (dir: string) => Promise<T>,
): Promise<T> {
  const before = new Set(fs.readdirSync('/proc/self/fd'));
  const dir = fs.mkdtempSync(path.join(folder, 'node-'));
  try {
    writeSeed(seed, dir);
    return await body(dir);
  } finally {
    for (const fd of fs.readdirSync('/proc/self/fd')) {
      if (!before.has(fd) && isOf(fd, dir)) fs.closeSync(Number(fd));
    }
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

function isOf(fd: string, dir: string): boolean {
  try {
    const to = fs.readlinkSync(`/proc/self/fd/${fd}`);
    return to.startsWith(dir) || to === 'anon_inode:inotify';
  } catch {
    return false;
  }
}
