/**
 * Which snapshots of an archive were read back, how and when. For whoever looks at the list: nothing depends on it, and a
 * file that cannot be read or written is none.
 *
 *     <snapshots.dir>/<database>/verified.json     {"<file's name>": {"bytes": 8192, "check": "full", "at": "2026-…Z"}}
 */
import fs from 'node:fs';
import path from 'node:path';
import { type Archive, replaceFile, tryOnDisk } from './archive.ts';
import { type ArchiveFile, SNAPSHOT_LEVEL } from './archive-file.ts';

export interface Verified {
  /** The strongest check that it has passed: as in snapshots.verify. */
  readonly check: 'full' | 'quick';
  /** When it was read last, ISO 8601. */
  readonly at: string;
}

/** A file of an archive with what is known of it. */
export type ListedFile = ArchiveFile & { readonly verified?: Verified };

type Notes = Record<string, (Verified & { readonly bytes: number }) | undefined>;

/** All files, oldest first. Throws DISK. */
export function listVerified(archive: Archive): ListedFile[] {
  const files = archive.list();
  const notes = readNotes(archive);
  return files.map((file) => {
    const note = file.level === SNAPSHOT_LEVEL ? notes[nameOf(archive, file)] : undefined;
    if (note?.bytes !== file.bytes) return file;
    return { ...file, verified: { check: note.check, at: note.at } };
  });
}

/** These snapshots were read at a time, in ms since 1970, and are whole. */
export function noteVerified(
  archive: Archive,
  snapshots: readonly ArchiveFile[],
  check: Verified['check'],
  atMs: number,
): void {
  if (snapshots.length === 0) return;
  const known = readNotes(archive);
  const notes: Notes = {};
  for (const [name, note] of Object.entries(known)) {
    const isThere = fs.existsSync(path.join(archive.root, 'ltx', `${SNAPSHOT_LEVEL}`, name));
    if (isThere) notes[name] = note;
  }
  const at = new Date(atMs).toISOString();
  for (const file of snapshots) {
    const name = nameOf(archive, file);
    const before = known[name]?.bytes === file.bytes ? known[name].check : undefined;
    notes[name] = { bytes: file.bytes, check: before === 'full' ? before : check, at };
  }
  tryOnDisk(() => replaceFile(fileOf(archive), `${JSON.stringify(notes)}\n`));
}

function readNotes(archive: Archive): Notes {
  try {
    return (JSON.parse(fs.readFileSync(fileOf(archive), 'utf8')) as Notes | null) ?? {};
  } catch {
    return {};
  }
}

function fileOf(archive: Archive): string {
  return path.join(archive.root, 'verified.json');
}

function nameOf(archive: Archive, file: ArchiveFile): string {
  return path.basename(archive.pathOf(file));
}
