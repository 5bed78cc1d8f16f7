/** On a primary: to whom a database and the folders above it belong, for its replicas. */
import fs from 'node:fs';
import { readOwnership, sameOwnership } from '../../store/ownership.ts';
import type { EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';

/** Before the mount: what was told of it while the node was a replica is of no use. Throws SystemError. */
export function beginOwnership(ctx: EngineContext, db: Database): void {
  fs.rmSync(db.ownerFile, { force: true });
  if (db.pageCount > 0) tellOwnership(ctx, db);
}

/** Tells it when it is another than was told. Throws SystemError. */
export function tellOwnership(ctx: EngineContext, db: Database): void {
  const now = readOwnership(ctx.tree, db.name, ctx.accounts);
  if (!now || (db.ownership && sameOwnership(db.ownership, now))) return;
  db.ownership = now;
  ctx.emitOwnership(db);
}
