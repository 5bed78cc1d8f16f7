/**
 * Which node writes the archives of a directory. Two that do so at once, each with a config that names it (a share of a NAS),
 * would remove each other's files, and set each other's archives aside. A node that is gone is followed by another one: the
 * new primary of its cluster, or the same machine set up anew.
 *
 *     <snapshots.dir>/.litefs-lite-writer     {"cluster", "node", "hostname", "run", "at": "2026-…Z", "left"?: true}
 *
 * It is looked at before each write and renewed once a minute. No clock is trusted far, and nothing is locked: of two nodes
 * that meet, the one that wrote last goes on. What both have written until then is whole, since files never change.
 */
import fs from 'node:fs';
import path from 'node:path';
import { LiteFsError } from '../errors.ts';
import { onDisk, replaceFile, tryOnDisk } from './archive.ts';

export const WRITER_FILE = '.litefs-lite-writer';

export interface Writer {
  /** '' when it has never met its primary. */
  readonly cluster: string;
  readonly node: string;
  readonly hostname: string;
  /** Of this start: machines that were copied have one node id. */
  readonly run: string;
}

interface Claim extends Writer {
  /** When it was renewed. */
  readonly at: string;
  /** It has stopped in order. */
  readonly left?: true;
}

const RENEW_MS = 60_000;
/** A writer that was not heard of for so long is gone. */
const GONE_MS = 15 * 60_000;
/** The same for one that has taken over while we were there: that one is configured to write here as we are. */
const RIVAL_GONE_MS = 24 * 3_600_000;

/**
 * Sees that no other node writes below `dir`, and says that we do. `hadIt`: we have, since our start. Returns the name of
 * the node that did before. Throws WRONG_STATE when another one does, or the archives are another cluster's; DISK.
 */
export function claimPlace(
  dir: string,
  writer: Writer,
  { nowMs, hadIt }: { readonly nowMs: number; readonly hadIt: boolean },
): string | undefined {
  const file = path.join(dir, WRITER_FILE);
  const claim = readClaim(file);
  const ageMs = claim ? Math.abs(nowMs - Date.parse(claim.at)) : Number.POSITIVE_INFINITY;
  const isOwn = claim?.run === writer.run;
  if (claim && !isOwn) refuseRival(dir, claim, writer, { ageMs, hadIt });
  if (!isOwn || !(ageMs < RENEW_MS)) {
    const renewed: Claim = { ...writer, at: new Date(nowMs).toISOString() };
    // A full disk is freed by what may be removed; what is to be written will tell what is wrong.
    tryOnDisk(() => replaceFile(file, `${JSON.stringify(renewed)}\n`));
  }
  return claim && claim.node !== writer.node ? claim.hostname : undefined;
}

/** From now on others may write there. Throws DISK. */
export function leavePlace(dir: string, writer: Writer, nowMs: number): void {
  const file = path.join(dir, WRITER_FILE);
  if (readClaim(file)?.run !== writer.run) return;
  const left: Claim = { ...writer, at: new Date(nowMs).toISOString(), left: true };
  onDisk(file, () => replaceFile(file, `${JSON.stringify(left)}\n`));
}

function refuseRival(
  dir: string,
  claim: Claim,
  writer: Writer,
  { ageMs, hadIt }: { readonly ageMs: number; readonly hadIt: boolean },
): void {
  const file = path.join(dir, WRITER_FILE);
  if (claim.cluster !== writer.cluster && claim.hostname !== writer.hostname) {
    throw new LiteFsError(
      'WRONG_STATE',
      `${dir} has the archives of another cluster, which ${claim.hostname} has written`,
      {
        hint: `Name another snapshots.dir. To go on there, if ${claim.hostname} does not: rm ${file}`,
      },
    );
  }
  if (claim.left) return;
  // Its own, from before it was started anew.
  if (claim.node === writer.node && !hadIt) return;
  if (!(ageMs < (hadIt ? RIVAL_GONE_MS : GONE_MS))) return;
  throw new LiteFsError('WRONG_STATE', `${dir} is written by another node, ${claim.hostname}`, {
    hint: `Two nodes must not share one directory: name another snapshots.dir, or see snapshots.on. If it writes there no more: rm ${file}`,
  });
}

/** undefined when there is none, or one that makes no sense. */
function readClaim(file: string): Claim | undefined {
  const text = onDisk(file, () => (fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : ''));
  try {
    const claim = JSON.parse(text) as Partial<Claim> | null;
    const isWhole = typeof claim?.node === 'string' && typeof claim.hostname === 'string';
    return isWhole ? (claim as Claim) : undefined;
  } catch {
    return undefined;
  }
}
