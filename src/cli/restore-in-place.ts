/**
 * `litefs-lite restore --in-place`: makes the running primary's database what it was, as one transaction. Applications see
 * it as any other writer's, and replicas follow. The node writes it, under SQLite's locks, and only the pages that differ.
 */
import fs from 'node:fs';
import path from 'node:path';
import { errorText, LiteFsError } from '../errors.ts';
import type { NodeReport, RestoreReport } from '../http/info.ts';
import type { IncrementReport, SnapshotRunReport } from '../http/snapshots.ts';
import type { Archive } from '../snapshots/archive.ts';
import type { Target } from '../snapshots/plan.ts';
import { type Restored, type RestoreOptions, restore } from '../snapshots/restore.ts';
import { temporaryIn } from '../snapshots/temporaries.ts';
import { getJson, NO_LIMIT, openRequest, postJson, readJson } from './client.ts';
import { removeDatabaseAtEnd } from './janitor.ts';
import type { NodeAddress } from './node-url.ts';
import { shellWord } from './shell-word.ts';

export interface InPlace {
  readonly restored: Restored;
  /** The transaction before it, which the archive has. */
  readonly undoTxid: string;
  /** Where that archive is: not where the state came from, perhaps. */
  readonly undoDir: string | undefined;
}

/**
 * Makes the former state beside the archives, cuts a snapshot of the present one, and gives the former to the node. What is
 * committed after the snapshot it archives under the lock, so that all of it can be undone.
 * @throws LiteFsError WRONG_STATE on a replica, or when the snapshot cannot be cut; what a restore throws;
 *   DATABASE_BUSY when an application keeps the database locked
 */
export async function restoreInPlace(
  asked: NodeAddress,
  database: string,
  archive: Archive,
  target: Target,
  options: RestoreOptions,
): Promise<InPlace> {
  const node = await getJson<NodeReport>(asked, '/info');
  if (!node.isPrimary) {
    throw new LiteFsError(
      'WRONG_STATE',
      `${node.hostname} is a replica: its databases cannot be written`,
      {
        hint: `Restore on the primary${node.primary.hostname ? `, ${node.primary.hostname}` : ''}.`,
      },
    );
  }
  if (!node.databases.some(({ name, pages }) => name === database && pages > 0)) {
    throw new LiteFsError('DATABASE_NOT_FOUND', `there is no database ${database} to write into`, {
      hint: `Restore it with --output FILE, and then: litefs-lite import ${shellWord(database)} FILE`,
    });
  }
  // Before anything is cut: a time that is not kept, or a file that is damaged, must not cost more than a message.
  const scratch = temporaryIn(path.dirname(archive.root));
  removeDatabaseAtEnd(scratch);
  try {
    const restored = restore(archive, target, scratch, options);
    await snapshotOf(asked, database);
    // Most of what was committed meanwhile, while nobody waits for it.
    await archived(asked, database);
    const { undoTxid, dir } = await written(asked, database, scratch);
    return { restored, undoTxid, undoDir: dir ?? undefined };
  } finally {
    for (const suffix of ['', '-wal', '-shm', '-journal']) {
      fs.rmSync(scratch + suffix, { force: true });
    }
  }
}

/** Has the node make the database what the file is. */
async function written(node: NodeAddress, database: string, file: string): Promise<RestoreReport> {
  const where = `/restore?name=${encodeURIComponent(database)}`;
  try {
    const body = fs.createReadStream(file);
    const answer = await openRequest('POST', node, where, { body, isGuarded: true });
    return await readJson(answer, node.url);
  } catch (error) {
    if (!(error instanceof LiteFsError) || error.code !== 'NODE_UNREACHABLE') throw error;
    const message = `${error.message}. It had not said yet whether ${database} is restored`;
    const hint = `When it runs again, look into it. What it was before can be restored: litefs-lite snapshots ${shellWord(database)}`;
    throw new LiteFsError('NODE_UNREACHABLE', message, { hint, cause: error });
  }
}

/** A snapshot of what the database is now. */
async function snapshotOf(node: NodeAddress, database: string): Promise<void> {
  const query = `?name=${encodeURIComponent(database)}`;
  const run = await postJson<SnapshotRunReport>(node, `/snapshot${query}`, NO_LIMIT);
  if (run.ok) return;
  throw new LiteFsError('DISK', `the present state could not be kept: ${run.errors.join('; ')}`);
}

/** Has in the archive what is committed by now, which may be much. */
async function archived(node: NodeAddress, database: string): Promise<void> {
  const query = `?name=${encodeURIComponent(database)}`;
  try {
    await postJson<IncrementReport>(node, `/increment${query}`, NO_LIMIT);
  } catch (error) {
    throw new LiteFsError('DISK', `the last commits could not be kept: ${errorText(error)}`, {
      hint: 'Nothing was changed.',
      cause: error,
    });
  }
}
