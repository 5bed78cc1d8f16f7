/** Archives on disk: what was committed is what is restored, byte for byte, whatever became of the files meanwhile. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, describe, it, mock } from 'node:test';
import { LiteFsError } from '../../../src/errors.ts';
import { CHECKSUM_FLAG, pageChecksum } from '../../../src/kernels/checksum.ts';
import { LtxEncoder } from '../../../src/ltx/encoder.ts';
import { HEADER_BYTES } from '../../../src/ltx/header.ts';
import type { Position } from '../../../src/ltx/position.ts';
import { memorySink } from '../../../src/ltx/sources.ts';
import { Archive } from '../../../src/snapshots/archive.ts';
import { SNAPSHOT_LEVEL } from '../../../src/snapshots/archive-file.ts';
import { planRestore, restorePoints, type Target } from '../../../src/snapshots/plan.ts';
import { restore } from '../../../src/snapshots/restore.ts';
import type { KeepRules } from '../../../src/snapshots/retention.ts';
import { snapshotTasks } from '../../../src/snapshots/tasks.ts';
import { verifyArchive } from '../../../src/snapshots/verify-archive.ts';
import { memoryFolder } from '../../harness/memory.ts';
import { SeededRandom } from '../../harness/random.ts';
import { makeUnreadable } from '../../harness/unreadable.ts';

const KEEP: KeepRules = {
  last: 2,
  hourly: 2,
  daily: 2,
  weekly: 1,
  monthly: 1,
  withinMs: 6 * 3_600_000,
};
/** Bits that are flipped in each file, one at a time. */
const FLIPS = Number(process.env.LITEFS_LITE_FLIPS ?? 4);
/** Transactions of an archive of which each state is restored. */
const STATES = Number(process.env.LITEFS_LITE_ARCHIVE_STATES ?? 400);
/** Archives with bad snapshots. */
const ARCHIVES = 5;
const QUICK = { check: 'quick', force: false } as const;

/** A database that changes at random; each transaction is an LTX file, as the log has it. */
class RandomDatabase {
  readonly random: SeededRandom;
  nowMs = Date.parse('2026-11-24T00:00:00Z');
  txid = 0;
  pageSize = 512;
  pages: Buffer[] = [];
  /** Images by TXID. */
  readonly images = new Map<number, Buffer>();

  constructor(random: SeededRandom) {
    this.random = random;
  }

  get position(): Position {
    return { txid: this.txid, checksum: this.#checksum() };
  }

  /** The next transaction, some seconds later. */
  commit(): { bytes: Uint8Array } {
    const { random } = this;
    const pre = this.txid === 0 ? 0n : this.#checksum();
    const changed = new Set<number>();
    if (this.txid > 0 && random.below(60) === 0) {
      // VACUUM with another page size.
      this.pageSize = this.pageSize === 512 ? 1024 : 512;
      this.pages = this.pages.map(() => this.#page());
      for (const index of this.pages.keys()) changed.add(index);
    } else {
      const size = Math.max(1, this.pages.length + random.below(7) - 2);
      while (this.pages.length > size) this.pages.pop();
      while (this.pages.length < size) changed.add(this.pages.push(this.#page()) - 1);
      for (let count = random.below(5); count > 0; count--) {
        const index = random.below(size);
        this.pages[index] = this.#page();
        changed.add(index);
      }
    }
    this.txid++;
    this.nowMs += 1 + random.below(120_000);
    const sink = memorySink();
    const encoder = new LtxEncoder(
      sink,
      {
        flags: 0,
        pageSize: this.pageSize,
        commit: this.pages.length,
        minTxid: this.txid,
        maxTxid: this.txid,
        timestampMs: this.nowMs,
        preChecksum: pre,
        walOffset: 0,
        walSize: 0,
        walSalt1: 0,
        walSalt2: 0,
        nodeId: 7n,
      },
      { compress: true },
    );
    for (const index of [...changed].sort((a, b) => a - b))
      encoder.page(index + 1, this.pages[index]);
    encoder.finish(this.#checksum());
    this.images.set(this.txid, Buffer.concat(this.pages));
    return { bytes: sink.bytes() };
  }

  /** Pages as a cut has them, without those of `leftOut`. */
  records(pages: readonly Buffer[], leftOut: ReadonlySet<number> = new Set()): Uint8Array {
    const parts = pages.flatMap((page, index) => {
      if (leftOut.has(index)) return [];
      const head = Buffer.alloc(4);
      head.writeUInt32BE(index + 1);
      return [head, page];
    });
    return Buffer.concat(parts);
  }

  #page(): Buffer {
    const page = Buffer.alloc(this.pageSize, this.random.below(256));
    page.writeUInt32LE(this.random.below(2 ** 31), this.random.below(this.pageSize - 4));
    return page;
  }

  #checksum(): bigint {
    let xor = 0n;
    for (const [index, page] of this.pages.entries()) xor ^= pageChecksum(index + 1, page);
    return xor | CHECKSUM_FLAG;
  }
}

/** Makes a file one that is not whole. */
function flip(file: string): void {
  const bytes = fs.readFileSync(file);
  bytes[bytes.length - 1] ^= 1;
  fs.writeFileSync(file, bytes);
}

describe('an archive', () => {
  const folder = fs.mkdtempSync(path.join(memoryFolder(), 'litefs-lite-test-'));
  after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const output = path.join(folder, 'output.db');
  const restored = (archive: Archive, txid: number): Buffer => {
    restore(archive, { kind: 'txid', txid }, output, QUICK);
    const bytes = fs.readFileSync(output);
    fs.rmSync(output);
    return bytes;
  };

  /** Runs transactions, with increments of some each, snapshots, and tidying now and then. */
  function fill(
    root: string,
    db: RandomDatabase,
    transactions: number,
    { tidies = true } = {},
  ): Archive {
    const { random } = db;
    const tasks = snapshotTasks();
    let waiting: { bytes: Uint8Array }[] = [];
    const increment = () => {
      if (waiting.length > 0) tasks.increment({ archive: root, entries: waiting, compress: true });
      waiting = [];
    };
    const snapshot = () => {
      const { position, pageSize } = db;
      const base = {
        position,
        pageSize,
        pageCount: db.pages.length,
        timestampMs: db.nowMs,
        compress: random.below(2) === 0,
      };
      const pagesThen = [...db.pages];
      const id = tasks.begin({ archive: root, base });
      // Committed while the pages are read: those it changes are left out.
      const entries = random.below(2) === 0 && pageSize === db.pageSize ? [db.commit()] : [];
      const leftOut = new Set<number>();
      if (db.pageSize !== pageSize) {
        tasks.abort({ snapshot: id });
        waiting.push(...entries);
        return;
      }
      for (const [index, page] of pagesThen.entries())
        if (page !== db.pages[index]) leftOut.add(index);
      tasks.pages({ snapshot: id, records: db.records(pagesThen, leftOut) });
      tasks.finish({
        snapshot: id,
        entries,
        end: db.position,
        check: 'quick',
        scratchDir: folder,
        nowMs: 0,
      });
      waiting.push(...entries);
    };
    waiting.push(db.commit());
    snapshot();
    for (let count = 1; count < transactions; count++) {
      waiting.push(db.commit());
      if (random.below(3) > 0) increment();
      if (random.below(40) === 0) snapshot();
      if (tidies && random.below(15) === 0) {
        const nowMs = db.nowMs + 3_600_000;
        tasks.tidy({ archive: root, keep: KEEP, nowMs, timezone: 'UTC', compress: true });
      }
    }
    increment();
    return new Archive(root);
  }

  it('gives back every state that it shows, through merging and retention', () => {
    const random = new SeededRandom();
    const db = new RandomDatabase(random);
    const archive = fill(path.join(folder, 'states'), db, STATES);
    const files = archive.list();
    const points = restorePoints(files);
    assert(points.length > 10, `${points.length} points, LITEFS_LITE_SEED=${random.seed}`);
    assert(
      files.some(({ level }) => level === 2),
      'merged twice',
    );
    for (const { txid } of points) {
      const context = `transaction ${txid}, LITEFS_LITE_SEED=${random.seed}`;
      assert(restored(archive, txid).equals(db.images.get(txid) ?? Buffer.alloc(0)), context);
    }
    assert.deepEqual(archive.open().position, db.position);
  });

  it('with a bit flipped anywhere gives the right state, or says which file it is', () => {
    const random = new SeededRandom();
    const db = new RandomDatabase(random);
    const archive = fill(path.join(folder, 'damage'), db, 150);
    const files = archive.list();
    const points = restorePoints(files);
    const outcomes = { right: 0, refused: 0 };
    for (const file of files) {
      const damaged = archive.pathOf(file);
      const whole = fs.readFileSync(damaged);
      const { mtime } = fs.statSync(damaged);
      // Headers are short, and say most.
      const places = [...Array(FLIPS).keys()].map((at) =>
        random.below(at % 2 === 0 ? whole.length : Math.min(whole.length, HEADER_BYTES)),
      );
      for (const place of places) {
        const bytes = Buffer.from(whole);
        bytes[place] ^= 1 << random.below(8);
        fs.writeFileSync(damaged, bytes);
        // What rots on a disk keeps its time; what a bad cable or memory has copied may not.
        if (random.below(2) === 0) fs.utimesSync(damaged, mtime, mtime);
        const at = random.below(points.length);
        const near = points.findIndex(({ txid }) => txid >= file.maxTxid);
        const wanted = points[random.below(2) === 0 ? at : Math.max(0, near - random.below(2))];
        const until = (points[points.indexOf(wanted) + 1]?.timestampMs ?? db.nowMs + 1) - 1;
        const timeMs = wanted.timestampMs + random.below(until - wanted.timestampMs + 1);
        const target: Target =
          random.below(2) === 0 ? { kind: 'txid', txid: wanted.txid } : { kind: 'time', timeMs };
        const context = `${damaged}, byte ${place}, ${JSON.stringify(target)}, LITEFS_LITE_SEED=${random.seed}`;
        try {
          restore(new Archive(archive.root), target, output, { ...QUICK, force: true });
          const image = db.images.get(wanted.txid) ?? Buffer.alloc(0);
          assert(fs.readFileSync(output).equals(image), context);
          outcomes.right++;
        } catch (error) {
          if (!(error instanceof LiteFsError)) throw error;
          assert.equal(error.code, 'LTX_CORRUPT', `${context}: ${error.message}`);
          assert(error.message.startsWith(damaged), `${context}: ${error.message}`);
          outcomes.refused++;
        }
      }
      fs.rmSync(output, { force: true });
      assert.deepEqual(
        fs.readdirSync(folder).filter((name) => name.includes('output')),
        [],
      );
      fs.writeFileSync(damaged, whole);
      fs.utimesSync(damaged, mtime, mtime);
    }
    assert(outcomes.right > 0 && outcomes.refused > 0, JSON.stringify(outcomes));
  });

  it('does without a file that cannot be read, or says which it is', () => {
    const db = new RandomDatabase(new SeededRandom(4));
    const archive = fill(path.join(folder, 'unreadable'), db, 150);
    const { files } = planRestore(archive.list(), { kind: 'latest' });
    const outcomes = { right: 0, refused: 0 };
    for (const path of files.map((file) => archive.pathOf(file))) {
      makeUnreadable(path);
      try {
        assert(restored(archive, db.txid).equals(db.images.get(db.txid) ?? Buffer.alloc(0)));
        outcomes.right++;
      } catch (error) {
        assert(error instanceof LiteFsError && error.code === 'LTX_CORRUPT', `${error}`);
        assert.equal(error.message, `${path} LTX file cannot be read: EIO: i/o error, read`);
        outcomes.refused++;
      } finally {
        mock.restoreAll();
      }
      fs.rmSync(output, { force: true });
    }
    assert(outcomes.right > 0 && outcomes.refused > 0, JSON.stringify(outcomes));
  });

  it('is verified to the end, its names and what leads to what as well', () => {
    const db = new RandomDatabase(new SeededRandom(5));
    const archive = fill(path.join(folder, 'verified'), db, 60, { tidies: false });
    const { damaged, missing } = verifyArchive(archive, 0);
    assert.deepEqual([damaged, missing], [[], []]);
    const increments = archive.list().filter(({ level, minTxid }) => level === 0 && minTxid > 1);
    const [lost, orphan, renamed, bad] = increments.slice(-4);
    fs.rmSync(archive.pathOf(lost));
    const other = archive.pathOf({ ...renamed, minTxid: renamed.minTxid - 1 });
    fs.renameSync(archive.pathOf(renamed), other);
    for (const { level, maxTxid } of archive.list()) {
      // A snapshot there would make up for the lost one.
      if (level === SNAPSHOT_LEVEL && maxTxid >= lost.maxTxid)
        fs.rmSync(archive.pathOf({ level, minTxid: 1, maxTxid }));
    }
    try {
      makeUnreadable(archive.pathOf(bad));
      const found = verifyArchive(archive, 0);
      assert.equal(found.damaged.length, 2, found.damaged.join());
      assert(found.damaged[0].startsWith(`${other} has the transactions`), found.damaged[0]);
      assert(found.damaged[1].startsWith(archive.pathOf(bad)), found.damaged[1]);
      assert.equal(found.missing.length, 3);
      assert(found.missing[0].startsWith(archive.pathOf(orphan)), found.missing[0]);
    } finally {
      mock.restoreAll();
    }
  });

  it('merges around what is damaged, and names it', () => {
    const db = new RandomDatabase(new SeededRandom(3));
    const archive = fill(path.join(folder, 'around'), db, 150, { tidies: false });
    const increments = archive.list().filter(({ level }) => level === 0);
    const victim = archive.pathOf(increments[increments.length >> 1]);
    flip(victim);
    const tasks = snapshotTasks();
    const rules = { keep: KEEP, timezone: 'UTC', compress: true };
    const all = { ...rules.keep, withinMs: 365 * 24 * 3_600_000 };
    const nowMs = db.nowMs + 3_600_000;
    const { merged, damaged } = tasks.tidy({ archive: archive.root, ...rules, keep: all, nowMs });
    assert(merged > 5, `${merged} merged`);
    assert.deepEqual(
      damaged.map(({ file }) => archive.pathOf(file)),
      [victim],
    );
    assert(damaged[0].message.startsWith(victim), damaged[0].message);
    assert(restored(archive, db.txid).equals(db.images.get(db.txid) ?? Buffer.alloc(0)));
  });

  it('never removes the last good snapshot, nor what a state needs in the place of a bad one', () => {
    const random = new SeededRandom();
    for (let round = 0; round < ARCHIVES; round++) {
      const db = new RandomDatabase(random);
      const root = path.join(folder, `good-${round}`);
      const archive = fill(root, db, 80, { tidies: false });
      const snapshots = archive.list().filter(({ level }) => level === SNAPSHOT_LEVEL);
      const bad = new Set(snapshots.filter(() => random.below(2) === 0));
      for (const file of bad) flip(archive.pathOf(file));
      const context = `round ${round}, LITEFS_LITE_SEED=${random.seed}`;
      const isRestorable = (txid: number): boolean => {
        try {
          return restored(archive, txid).equals(db.images.get(txid) ?? Buffer.alloc(0));
        } catch {
          return false;
        }
      };
      const withinMs = random.below(90) * 60_000;
      const keep = { ...KEEP, last: 1, hourly: 0, daily: 1, withinMs };
      const nowMs = db.nowMs + random.below(2) * 30 * 60_000;
      const before = restorePoints(archive.list()).filter(({ txid }) => isRestorable(txid));
      const rules = { keep, timezone: 'UTC', compress: true };
      const tasks = snapshotTasks();
      tasks.tidy({ archive: root, ...rules, nowMs });
      tasks.tidy({ archive: root, ...rules, nowMs });
      for (const { txid, timestampMs } of before) {
        if (timestampMs < nowMs - withinMs && txid !== before.at(-1)?.txid) continue;
        assert(isRestorable(txid), `${context}: transaction ${txid}`);
      }
      fs.rmSync(root, { recursive: true });
    }
  });

  it('replaces a file only when told to, and then its journals too', () => {
    const db = new RandomDatabase(new SeededRandom(1));
    const archive = fill(path.join(folder, 'output'), db, 5);
    fs.writeFileSync(`${output}-wal`, 'of another database');
    const target = { kind: 'latest' } as const;
    assert.throws(() => restore(archive, target, output, QUICK), /output\.db-wal exists/);
    fs.writeFileSync(output, 'precious', { mode: 0o640 });
    assert.throws(() => restore(archive, target, output, QUICK), /output\.db exists/);
    assert.equal(fs.readFileSync(output, 'utf8'), 'precious');
    restore(archive, target, output, { ...QUICK, force: true });
    assert(!fs.existsSync(`${output}-wal`));
    assert.equal(fs.statSync(output).mode & 0o777, 0o640);
    fs.rmSync(output);
  });

  it('has nothing under a temporary name after it was opened', () => {
    const db = new RandomDatabase(new SeededRandom(2));
    const archive = fill(path.join(folder, 'sweep'), db, 5);
    const left = archive.temporary(0);
    fs.writeFileSync(left, 'cut off');
    const before = archive.list();
    const opened = snapshotTasks().open({ archive: archive.root });
    assert(!fs.existsSync(left));
    assert.deepEqual(opened.files, before);
    assert.deepEqual(opened.position, db.position);
  });

  it('is tidied with one look at each file: on a network file system there may be tens of thousands', () => {
    const db = new RandomDatabase(new SeededRandom(3));
    const archive = fill(path.join(folder, 'looks'), db, 200, { tidies: false });
    const tasks = snapshotTasks();
    const keep = { ...KEEP, withinMs: 365 * 86_400_000 };
    const rules = { keep, nowMs: db.nowMs + 86_400_000, timezone: 'UTC', compress: true };
    const tidy = () => tasks.tidy({ archive: archive.root, ...rules });
    assert(tidy().merged > 0);
    const stat = mock.method(fs, 'statSync');
    try {
      assert.deepEqual(tidy(), { merged: 0, removed: 0, damaged: [] });
      const looks = stat.mock.callCount();
      assert.equal(looks, archive.list().length);
    } finally {
      mock.restoreAll();
    }
  });
});
