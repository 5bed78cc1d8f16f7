/**
 * `litefs-lite restore --in-place`: makes the running primary's database what it was, as one transaction. Applications see
 * it as any other writer's, and replicas follow. SQLite's own backup does the writing, so its locks and its journal hold.
 */
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';
import { errorText, LiteFsError } from '../errors.ts';
import type { NodeReport } from '../http/info.ts';
import type { SnapshotRunReport, SnapshotsReport } from '../http/snapshots.ts';
import type { Archive } from '../snapshots/archive.ts';
import type { Target } from '../snapshots/plan.ts';
import { type Restored, type RestoreOptions, restore } from '../snapshots/restore.ts';
import { ALL_PAGES, backUp } from '../transfer/backup.ts';
import { getJson, NO_LIMIT, postJson } from './client.ts';

/** How long the lock of applications is waited for. */
const LOCK_MS_MAX = 60_000;

export interface InPlace {
  readonly restored: Restored;
  /** The transaction before it, of which a snapshot was cut. */
  readonly undoTxid: string;
}

/**
 * Cuts a snapshot of the present state, makes the former one beside the archives, and writes it into the mount.
 * @throws LiteFsError WRONG_STATE on a replica, or when the snapshot cannot be cut; what a restore throws;
 *   DATABASE_BUSY when an application keeps the database locked
 */
export async function restoreInPlace(
  url: string,
  database: string,
  archive: Archive,
  target: Target,
  options: RestoreOptions,
): Promise<InPlace> {
  const node = await getJson<NodeReport>(url, '/info');
  if (!node.isPrimary) {
    throw new LiteFsError(
      'WRONG_STATE',
      `${node.hostname} is a replica: its databases cannot be written`,
      {
        hint: `Restore on the primary${node.primary.hostname ? `, ${node.primary.hostname}` : ''}.`,
      },
    );
  }
  // Before anything is cut: a time that is not kept, or a file that is damaged, must not cost more than a message.
  const scratch = path.join(path.dirname(archive.root), `.restore-${randomUUID()}`);
  try {
    const restored = restore(archive, target, scratch, options);
    const undoTxid = await snapshotOf(url, database);
    await writeOver(scratch, path.join(node.path, database));
    return { restored, undoTxid };
  } finally {
    for (const suffix of ['', '-wal', '-shm', '-journal']) {
      fs.rmSync(scratch + suffix, { force: true });
    }
  }
}

/** A snapshot of what the database is now; its TXID. */
async function snapshotOf(url: string, database: string): Promise<string> {
  const name = encodeURIComponent(database);
  const run = await postJson<SnapshotRunReport>(url, `/snapshot?name=${name}`, NO_LIMIT);
  if (!run.ok) {
    throw new LiteFsError('DISK', `the present state could not be kept: ${run.errors.join('; ')}`);
  }
  if (run.snapshots.length > 0) return run.snapshots[0].txid;
  const { databases } = await getJson<SnapshotsReport>(url, '/snapshots');
  const newest = databases.find((each) => each.name === database)?.snapshots[0];
  if (newest) return newest.txid;
  throw new LiteFsError('WRONG_STATE', `the node shows no snapshot of ${database}`);
}

async function writeOver(from: string, to: string): Promise<void> {
  const db = new Database(from, { fileMustExist: true });
  try {
    await backUp(db, to, { pagesPerStep: ALL_PAGES, lockMsMax: LOCK_MS_MAX });
  } catch (error) {
    if (!(error instanceof Database.SqliteError)) throw error;
    throw new LiteFsError('DATABASE_BUSY', `${to} cannot be written: ${errorText(error)}`, {
      hint:
        error.code === 'SQLITE_READONLY'
          ? 'Its page size has changed since: stop the applications, remove it, and restore with --output.'
          : 'Is an application in a long transaction? Nothing was changed.',
      cause: error,
    });
  } finally {
    db.close();
  }
}
