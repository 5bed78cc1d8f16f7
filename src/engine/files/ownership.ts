/**
 * To whom the files beside a replica's database belong: its owner. Who may read the database may read the -wal, and read and
 * write the -shm: readers take locks on it, and note in it what they read.
 */
import fs from 'node:fs';
import type { DatabaseFiles } from './files.ts';

/** The permissions of a -shm beside a database with these. */
export function shmMode(databaseMode: number): number {
  const readers = databaseMode & 0o444;
  return readers | (readers >> 1);
}

/** As the database's are now. The -shm first, for the -wal leads to it. `like`: the database, if it does not have its name yet. */
export function giveToReaders(files: DatabaseFiles, like?: string): void {
  const owner = like === undefined ? files.ownership('db') : fs.lstatSync(like);
  if (!owner) return;
  const { mode, uid, gid } = owner;
  files.own('shm', { mode: shmMode(mode), uid, gid });
  files.own('wal', { mode: mode & 0o666, uid, gid });
}
