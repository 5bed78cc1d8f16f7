/**
 * OWNERSHIP: to whom a database and the folders above it belong on the primary.
 *
 *     name
 *     u16 count       of folders: the mount itself, then each part of the name but the last
 *     count + 1 times, the folders and then the database:
 *     u16 mode        permission bits
 *     u32 uid, u32 gid
 *     text user, text group    '' where the number has no name
 */
import { LiteFsError } from '../errors.ts';
import { type DatabaseOwnership, type NamedOwnership, parseOwnership } from '../store/ownership.ts';
import { PayloadReader, PayloadWriter } from './bytes.ts';

export function encodeOwnership(database: string, { file, folders }: DatabaseOwnership): Buffer {
  const writer = new PayloadWriter().name(database).u16(folders.length);
  for (const { mode, uid, gid, user, group } of [...folders, file]) {
    writer.u16(mode).u32(uid).u32(gid).text(user).text(group);
  }
  return writer.done();
}

/** Throws PROTOCOL, also for one that is not of a database of that name. */
export function decodeOwnership(payload: Buffer): {
  database: string;
  ownership: DatabaseOwnership;
} {
  const reader = new PayloadReader(payload);
  const database = reader.name();
  const count = reader.u16();
  const next = (): NamedOwnership => ({
    mode: reader.u16(),
    uid: reader.u32(),
    gid: reader.u32(),
    user: reader.text(),
    group: reader.text(),
  });
  const folders = Array.from({ length: count }, next);
  const ownership = parseOwnership(database, { folders, file: next() });
  reader.end();
  if (ownership) return { database, ownership };
  throw new LiteFsError('PROTOCOL', `an OWNERSHIP that is not of a database ${database}`);
}
