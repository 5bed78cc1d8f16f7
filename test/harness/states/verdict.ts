/** Whether what a log holds of a database, and what two nodes show of it, is what SQLite has published there. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import Sqlite from 'better-sqlite3';
import { type LoggedEntry, LogReplay, readLog } from '../ltx-reader.ts';
import { CHECK, HISTORY } from './bank.ts';
import type { Ledger } from './ledger.ts';

const PAGES_NAMED_MAX = 8;
const BYTES_SHOWN = 8;
/** Of the header: 2 says WAL, which a file in memory cannot have. */
const VERSION_OFFSETS = [18, 19];

/** All pages of a database as a connection that opens it now sees them. */
export function imageOf(file: string, options: { readonly: boolean }): Buffer {
  const db = new Sqlite(file, { ...options, timeout: 10_000 });
  try {
    // Says what is wrong with one that cannot be read, which serialize() does not.
    db.prepare('SELECT count(*) FROM sqlite_schema').get();
    return db.serialize();
  } finally {
    db.close();
  }
}

/** The same of one that is malformed, and that nobody writes: SQLite reads less of it than there is. */
export function wreckOf(file: string): Buffer {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-test-wreck-'));
  try {
    const copy = path.join(dir, 'copy.db');
    for (const suffix of ['', '-wal']) {
      if (fs.existsSync(file + suffix)) fs.copyFileSync(file + suffix, copy + suffix);
    }
    const db = new Sqlite(copy);
    try {
      // SQLite then goes by the size of the file when the header asks for more.
      db.unsafeMode(true);
      db.pragma('writable_schema=ON');
      db.pragma('wal_checkpoint(TRUNCATE)');
    } finally {
      db.close();
    }
    return fs.readFileSync(copy);
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
}

/** Sizes, and the first pages that differ; undefined when nothing does. */
export function difference(ours: Buffer, theirs: Buffer): string | undefined {
  if (ours.equals(theirs)) return undefined;
  const pageSize = ours.length >= 18 ? ours.readUInt16BE(16) : 0;
  const size = pageSize === 1 ? 65536 : Math.max(512, pageSize);
  const pages: number[] = [];
  for (let at = 0; at < Math.max(ours.length, theirs.length); at += size) {
    const [a, b] = [ours, theirs].map((image) => image.subarray(at, at + size));
    if (!a.equals(b)) pages.push(at / size + 1);
  }
  const named = pages.slice(0, PAGES_NAMED_MAX).join(' ');
  const at = ours.findIndex((byte, index) => byte !== theirs[index]);
  const [a, b] = [ours, theirs].map((image) => image.toString('hex', at, at + BYTES_SHOWN));
  return `${pages.length} of ${Math.ceil(ours.length / size)} pages differ, the first are ${named}: at ${at} ${a}, not ${b}`;
}

/** What a node has shown of a database. */
export interface View {
  /** As its -pos file has it. */
  readonly position: string;
  readonly image: Buffer;
  /** SQLite's own list of the transactions. */
  readonly published: string;
}

/** Transactions that were committed when all that is committed was captured, as the engine says, in that transaction. */
export interface Claim {
  readonly txid: number;
  readonly committed: readonly number[];
}

/**
 * Rebuilds every state of a log. `published`: the list of the transactions at the end. `views`: of the primary, oldest
 * first.
 */
export function judgeLog(
  dir: string,
  ledger: Ledger,
  published: string,
  views: readonly View[],
  claims: readonly Claim[] = [],
): { readonly states: number; readonly faults: readonly string[] } {
  const replay = new LogReplay();
  const judge = new StateJudge(ledger, published);
  const faults: string[] = [];
  const unseen = new Map(views.map((view) => [view.position, view]));
  let states = 0;
  try {
    for (const entry of readLog(dir)) {
      replay.apply(entry);
      states++;
      const fault = ledger.isWrecked ? undefined : judge.state(replay.image);
      if (fault !== undefined) faults.push(`${describeEntry(entry)}: ${fault}`);
      for (const { txid, committed } of claims) {
        const lacks = committed.find((token) => !judge.listed.has(token));
        if (txid !== replay.txid || lacks === undefined || ledger.lost.size > 0) continue;
        faults.push(`${describeEntry(entry)}: lacks ${lacks}, which was said to be captured`);
      }
      const view = unseen.get(replay.position);
      if (!view) continue;
      unseen.delete(replay.position);
      const differs = difference(view.image, replay.image);
      if (differs !== undefined) faults.push(`${describeEntry(entry)}: not as seen: ${differs}`);
    }
  } catch (error) {
    faults.push((error as Error).message);
  }
  for (const position of unseen.keys()) faults.push(`the log has not passed ${position}`);
  if (views.length > 0 && replay.position !== views.at(-1)?.position) {
    faults.push(`the log ends at ${replay.position}, not ${views.at(-1)?.position}`);
  }
  return { states, faults };
}

function describeEntry({ minTxid, maxTxid, pages, commit }: LoggedEntry): string {
  const range = minTxid === maxTxid ? `${minTxid}` : `${minTxid} to ${maxTxid}`;
  return `the state after ${range} (${pages.length} of ${commit} pages)`;
}

/** Judges the states of one database, in order. */
class StateJudge {
  readonly #ledger: Ledger;
  readonly #published: string;
  /** Of the newest state. */
  listed: ReadonlySet<number> = new Set();
  #isMade = false;
  #newest = 0;

  constructor(ledger: Ledger, published: string) {
    this.#ledger = ledger;
    this.#published = published;
  }

  /** What is wrong with it; undefined when SQLite has published it, not before the one before. */
  state(image: Buffer): string | undefined {
    let db: Sqlite.Database;
    try {
      db = new Sqlite(withoutWal(image));
    } catch (error) {
      return `it cannot be opened: ${(error as Error).message}`;
    }
    try {
      const damage = db.pragma('integrity_check(3)', { simple: true });
      if (damage !== 'ok') return `integrity_check: ${damage}`;
      return this.#content(db);
    } catch (error) {
      return `it cannot be read: ${(error as Error).message}`;
    } finally {
      db.close();
    }
  }

  #content(db: Sqlite.Database): string | undefined {
    const tables = db.prepare("SELECT count(*) FROM sqlite_master WHERE name = 'meta'").pluck();
    // Before the tables are made: an empty file, or one that knows its journal mode.
    if (tables.get() === 0 && !this.#isMade) return undefined;
    this.#isMade = true;
    const checked = db.prepare(CHECK).pluck().get() as string;
    if (!checked.startsWith('ok ')) return checked;
    const listed = db.prepare(HISTORY).pluck().get() as string;
    const tokens = listed.split(',').map(Number);
    this.listed = new Set(tokens);
    const refused = this.#ledger.refusedAmong(tokens);
    if (refused !== undefined) return `has transaction ${refused}, which was rolled back`;
    // SQLite has itself gone back: what it had published is another branch.
    if (this.#ledger.lost.size > 0) return undefined;
    if (!`${this.#published},`.startsWith(`${listed},`)) {
      return `has transaction ${tokens.at(-1)}, which SQLite has not`;
    }
    if (tokens.length < this.#newest)
      return `comes behind state ${this.#newest}, and is ${tokens.length}`;
    this.#newest = tokens.length;
    return undefined;
  }
}

function withoutWal(image: Buffer): Buffer {
  const copy = Buffer.from(image);
  for (const offset of VERSION_OFFSETS) copy[offset] = 1;
  return copy;
}
