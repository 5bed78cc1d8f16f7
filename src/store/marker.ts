/**
 * The marker of a clean stop: what the files of a database looked like when everything in them had been
 * captured. If they look the same at the next start, the page checksums are taken as they are and a
 * database of any size starts at once. Removed as soon as the node runs.
 *
 * It vouches for data: what it describes is on the disk before it is written (syncBeforeMarkers).
 */
import fs from 'node:fs';
import type { Position } from '../ltx/position.ts';
import { checked, syncfs } from '../os/libc.ts';

/** How a file looks from outside. Times in ns since 1970, as text. */
export interface FileLook {
  readonly size: number;
  readonly mtimeNs: string;
  readonly ino: string;
}

/** How far a -wal was captured: the last frame, and the cumulative checksum behind it. */
export interface WalEnd {
  readonly frame: number;
  readonly checksum1: number;
  readonly checksum2: number;
}

export interface Marker {
  readonly position: Position;
  readonly database: FileLook;
  readonly wal: FileLook | null;
  /** undefined when that was not known: then a -wal with frames is one of which nothing can be told. */
  readonly walEnd?: WalEnd;
}

/** Has the disk have all that was written below a directory, and on its file system. Throws what the disk says. */
export function syncBeforeMarkers(dir: string): void {
  const fd = fs.openSync(dir, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  try {
    checked('syncfs', syncfs(fd));
  } finally {
    fs.closeSync(fd);
  }
}

/** null of nothing, and of what is no file. */
export function lookOf(stat: fs.BigIntStats | undefined): FileLook | null {
  if (!stat?.isFile()) return null;
  return { size: Number(stat.size), mtimeNs: `${stat.mtimeNs}`, ino: `${stat.ino}` };
}

export function sameLook(a: FileLook | null, b: FileLook | null): boolean {
  if (a === null || b === null) return a === b;
  return a.size === b.size && a.mtimeNs === b.mtimeNs && a.ino === b.ino;
}

export function saveMarker(file: string, marker: Marker): void {
  const text = JSON.stringify(marker, (_, value) =>
    typeof value === 'bigint' ? value.toString(16) : value,
  );
  fs.writeFileSync(`${file}.tmp`, text, { mode: 0o600, flush: true });
  fs.renameSync(`${file}.tmp`, file);
}

/** Reads the marker and removes it; undefined when there is none, or none that can be read. */
export function takeMarker(file: string): Marker | undefined {
  let text: string;
  try {
    text = fs.readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
  fs.rmSync(file, { force: true });
  try {
    const raw = JSON.parse(text) as Marker & { position: { txid: number; checksum: string } };
    return {
      ...raw,
      position: { txid: raw.position.txid, checksum: BigInt(`0x${raw.position.checksum}`) },
    };
  } catch {
    return undefined;
  }
}
