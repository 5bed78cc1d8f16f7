/**
 * On a replica: gives a database and the folders above it to whom they belong on the primary, or as the config of this node
 * says. Until that is known they are root's alone; a database that another version has made keeps what it has.
 */
import fs from 'node:fs';
import { errorText } from '../../errors.ts';
import {
  type DatabaseOwnership,
  foldersAbove,
  loadOwnership,
  resolveOwnership,
  sameOwnership,
  saveOwnership,
} from '../../store/ownership.ts';
import type { EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import { giveToReaders } from '../files/ownership.ts';

/** What chown(2) says of a number that a user namespace does not have, and without CAP_CHOWN. */
const NOT_ALLOWED = ['EINVAL', 'EPERM'];

/** As the primary says. Throws what the disk says; then it may be told again. */
export function takeOwnership(ctx: EngineContext, db: Database, told: DatabaseOwnership): void {
  if (!db.ownership || !sameOwnership(db.ownership, told)) {
    saveOwnership(db.ownerFile, told);
    db.ownership = told;
    ctx.emitOwnership(db);
  }
  giveOwnership(ctx, db);
}

/** Before the mount: as it was told before the last stop. */
export function recallOwnership(ctx: EngineContext, db: Database): void {
  if (db.pageCount > 0) db.ownership = loadOwnership(db.ownerFile, db.name);
  if (!db.ownership) return;
  ctx.emitOwnership(db);
  giveOwnership(ctx, db);
}

/** It is no more. */
export function forgetOwnership(db: Database): void {
  fs.rmSync(db.ownerFile, { force: true });
  db.ownership = undefined;
}

/** A database that does not have its name yet: the folders above it are made, and `image` is as the database will be. */
export function prepareOwnership(ctx: EngineContext, db: Database, image: string): void {
  const wanted = db.ownership && resolve(ctx, db.ownership);
  if (!wanted) {
    db.files.makeFolders();
    return;
  }
  db.files.makeFolders();
  asFarAsAllowed(ctx, db, () => {
    giveFolders(db, wanted.folders);
    const { uid, gid, mode } = wanted.file;
    fs.chownSync(image, uid, gid);
    fs.chmodSync(image, mode);
  });
}

function giveOwnership(ctx: EngineContext, db: Database): void {
  if (!db.ownership || db.pageCount === 0 || !db.files.exists('db')) return;
  const { file, folders } = resolve(ctx, db.ownership);
  asFarAsAllowed(ctx, db, () => {
    giveFolders(db, folders);
    db.files.own('db', file);
  });
  giveToReaders(db.files);
}

/**
 * In a container there may be no such user, or no right to give files away. The database is replicated all the same, and
 * stays closed to whom it would have been given.
 */
function asFarAsAllowed(ctx: EngineContext, db: Database, give: () => void): void {
  try {
    give();
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (!NOT_ALLOWED.includes(code)) throw error;
    ctx.log(
      'warn',
      `${db.name} cannot be given to its owner here: ${errorText(error)}. Others than root may not be able to read it; ` +
        'fuse.replica-owner names another owner',
      { database: db.name },
    );
  }
}

function giveFolders(db: Database, folders: ReturnType<typeof resolve>['folders']): void {
  for (const [i, folder] of foldersAbove(db.name).entries()) db.files.ownFolder(folder, folders[i]);
}

function resolve(ctx: EngineContext, ownership: DatabaseOwnership) {
  return resolveOwnership(ownership, ctx.accounts, ctx.ownershipOverride);
}
