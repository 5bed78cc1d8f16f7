import assert from 'node:assert';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import type Sqlite from 'better-sqlite3';
import fc from 'fast-check';
import { parseJournal } from '../../../src/sqlite/journal.ts';
import { changedPages, journalFile, openDatabase, PAGE_SIZES, tmpFolder } from './fixtures.ts';

const MAGIC = Buffer.from('d9d505f920a163d7', 'hex');

/**
 * Runs statements that make one transaction and gives its journal as it was when SQLite removed it, and
 * the database before and after. The journal survives under a second name. SQLite takes a file that is
 * there already when it begins with a zero byte, as PERSIST leaves it.
 */
function capture(db: Sqlite.Database, statements: string, stale = Buffer.alloc(1)) {
  const before = fs.readFileSync(db.name);
  const link = `${db.name}-captured`;
  fs.writeFileSync(`${db.name}-journal`, stale);
  fs.linkSync(`${db.name}-journal`, link);
  db.exec(statements);
  const bytes = fs.readFileSync(link);
  // Still there when the statements changed nothing.
  if (bytes[0] === 0) fs.unlinkSync(`${db.name}-journal`);
  fs.unlinkSync(link);
  const after = fs.readFileSync(db.name);
  return { bytes, before, after };
}

type Captured = ReturnType<typeof capture>;

/** The journal with the database at hand, as it was at the commit. */
function parse({ bytes, after }: Captured) {
  const pageSize = bytes.readUInt32BE(24);
  const journal = parseJournal(journalFile(bytes), (pgno) =>
    after.subarray((pgno - 1) * pageSize, pgno * pageSize),
  );
  assert(journal);
  return journal;
}

/** Changed pages, of those that were there before, that the journal does not name. */
function missed({ before, after }: Captured, pageNumbers: Uint32Array, pageSize: number): number[] {
  const listed = new Set(pageNumbers);
  return changedPages(before, after, pageSize).filter((pgno) => !listed.has(pgno));
}

/** How many headers there are. */
function headerCount(bytes: Buffer): number {
  let count = 0;
  for (let at = 0; at < bytes.length; at += 512) {
    if (bytes.subarray(at, at + 8).equals(MAGIC)) count++;
  }
  return count;
}

const FILL = `CREATE TABLE t(id INTEGER PRIMARY KEY, x);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
  INSERT INTO t(x) SELECT randomblob(500) FROM n;`;

test('every page size and synchronous mode, with spills: all changed pages are listed', (t) => {
  const folder = tmpFolder(t);
  for (const pageSize of PAGE_SIZES) {
    for (const synchronous of ['off', 'normal', 'full', 'extra']) {
      const file = path.join(folder, `${pageSize}-${synchronous}.db`);
      const db = openDatabase(t, file, `page_size=${pageSize}`, `synchronous=${synchronous}`);
      db.exec(FILL);
      db.pragma('cache_size=5');
      const captured = capture(
        db,
        'BEGIN; UPDATE t SET x = randomblob(510); INSERT INTO t(x) VALUES (zeroblob(90000)); COMMIT',
      );
      const journal = parse(captured);
      assert.equal(journal.pageSize, pageSize);
      assert.equal(journal.sectorSize, 512);
      assert.equal(journal.originalPageCount, captured.before.length / pageSize);
      assert.equal(journal.changeCounter, captured.before.readUInt32BE(24));
      assert.equal(journal.superJournal, undefined);
      assert(journal.reliable);
      const changed = changedPages(captured.before, captured.after, pageSize);
      assert.deepEqual([...journal.pageNumbers], changed);
      if (synchronous === 'off') assert.equal(captured.bytes.readUInt32BE(8), 0xffffffff);
      else if (pageSize <= 4096) assert(headerCount(captured.bytes) > 1, 'several segments');
    }
  }
});

test('pages taken from the freelist have no record, and are listed nevertheless', (t) => {
  const folder = tmpFolder(t);
  const db = openDatabase(t, path.join(folder, 'x.db'), 'page_size=512');
  db.exec(FILL);
  db.exec('DELETE FROM t WHERE id > 20');
  const captured = capture(db, 'INSERT INTO t(x) VALUES (randomblob(100000))');
  const journal = parse(captured);
  assert(journal.reliable);
  assert.deepEqual(missed(captured, journal.pageNumbers, 512), []);
  const records: number[] = [];
  for (let at = 512; at + 520 <= captured.bytes.length; at += 520) {
    records.push(captured.bytes.readUInt32BE(at));
  }
  assert(
    missed(captured, Uint32Array.from(records), 512).length > 100,
    'SQLite journals them after all',
  );
});

test('whatever a transaction does, the journal tells', (t) => {
  const folder = tmpFolder(t);
  const statement = fc.oneof(
    fc.nat(60).map((n) => `INSERT INTO t(x) VALUES (randomblob(${n * 97}))`),
    fc.nat(9).map((n) => `DELETE FROM t WHERE id % 10 = ${n}`),
    fc.nat(9).map((n) => `DELETE FROM t WHERE id > (SELECT max(id) * ${n} / 10 FROM t)`),
    fc
      .nat(9)
      .map((n) => `UPDATE t SET x = randomblob(length(x) + ${n * 90 - 400}) WHERE id % 10 = ${n}`),
    fc.nat(9).map((n) => `CREATE TABLE IF NOT EXISTS t${n} AS SELECT * FROM t`),
    fc.nat(9).map((n) => `DROP TABLE IF EXISTS t${n}`),
    fc.nat(30).map((n) => `PRAGMA incremental_vacuum(${n})`),
    fc.constant('SAVEPOINT s; UPDATE t SET x = 1; DELETE FROM t; ROLLBACK TO s; RELEASE s'),
  );
  const transaction = fc.oneof(
    { weight: 12, arbitrary: fc.array(statement, { minLength: 1, maxLength: 4 }) },
    { weight: 1, arbitrary: fc.constant(undefined) },
  );
  let databases = 0;
  fc.assert(
    fc.property(
      fc.constantFrom('none', 'full', 'incremental'),
      fc.constantFrom('off', 'normal'),
      fc.constantFrom(5, 2000),
      fc.array(transaction, { minLength: 1, maxLength: 10 }),
      (autoVacuum, synchronous, cacheSize, transactions) => {
        const file = path.join(folder, `${databases++}.db`);
        const db = openDatabase(t, file, 'page_size=512', `auto_vacuum=${autoVacuum}`);
        db.exec(FILL);
        db.pragma(`synchronous=${synchronous}`);
        db.pragma(`cache_size=${cacheSize}`);
        let stale = Buffer.alloc(1);
        for (const statements of transactions) {
          const sql = statements
            ? `BEGIN; UPDATE t SET x = x || 'y' WHERE id = 1; ${statements.join(';')}; COMMIT`
            : 'VACUUM';
          const captured = capture(db, sql, stale);
          // The next transaction finds its journal as PERSIST would leave it.
          stale = Buffer.from(captured.bytes).fill(0, 0, 28);
          if (captured.bytes[0] === 0) {
            assert(captured.before.equals(captured.after));
            continue;
          }
          const journal = parse(captured);
          if (!journal.reliable) {
            // VACUUM may cut off trunk pages without a record: the freelist cannot be followed.
            assert(sql === 'VACUUM' && autoVacuum !== 'none');
            continue;
          }
          assert.deepEqual(missed(captured, journal.pageNumbers, 512), []);
        }
        db.close();
        fs.rmSync(file);
      },
    ),
    { numRuns: 40 },
  );
});

test('with auto_vacuum the freelist is followed through the database, or the journal is not relied on', (t) => {
  const file = path.join(tmpFolder(t), 'x.db');
  const db = openDatabase(t, file, 'page_size=512', 'auto_vacuum=incremental');
  db.exec(FILL);
  db.exec('DELETE FROM t WHERE id > 20');
  const captured = capture(db, "UPDATE t SET x = 'y' WHERE id = 1");
  assert.equal(parse(captured).reliable, true);
  assert.equal(parseJournal(journalFile(captured.bytes))?.reliable, false);
});

test('a journal that has ended or was never synced is none', (t) => {
  const folder = tmpFolder(t);
  for (const mode of ['persist', 'truncate']) {
    const db = openDatabase(t, path.join(folder, `${mode}.db`), `journal_mode=${mode}`);
    db.exec(FILL);
    const open = () => parseJournal(journalFile(fs.readFileSync(`${db.name}-journal`)));
    assert.equal(open(), undefined, mode);
    db.exec("BEGIN; UPDATE t SET x = 'y'");
    assert.equal(open(), undefined, 'not synced');
    db.exec('ROLLBACK; PRAGMA cache_size=5');
    db.exec("BEGIN; UPDATE t SET x = 'y'");
    const spilled = open();
    assert(spilled && spilled.pageNumbers.length > 0, 'what is synced is listed');
    db.exec('COMMIT');
    assert.equal(open(), undefined, mode);
  }
  assert.equal(parseJournal(journalFile(Buffer.alloc(0))), undefined);
  assert.equal(parseJournal(journalFile(MAGIC)), undefined);
});

test('the super-journal of a transaction over two databases', (t) => {
  const folder = tmpFolder(t);
  const db = openDatabase(t, path.join(folder, 'ä.db'));
  db.exec(`${FILL} ATTACH '${path.join(folder, 'other.db')}' AS other`);
  db.exec('CREATE TABLE other.u(x)');
  const captured = capture(db, "BEGIN; UPDATE t SET x = 'y'; INSERT INTO u VALUES (1); COMMIT");
  const journal = parse(captured);
  assert.match(journal.superJournal ?? '', /ä\.db-mj[0-9A-F]+$/);
  assert(journal.reliable);
  assert.deepEqual(missed(captured, journal.pageNumbers, 4096), []);
});

test('a journal cut short or damaged is not relied on', (t) => {
  const file = path.join(tmpFolder(t), 'x.db');
  const db = openDatabase(t, file, 'page_size=512');
  db.exec(FILL);
  db.pragma('cache_size=5');
  const captured = capture(db, 'BEGIN; UPDATE t SET x = randomblob(510); COMMIT');
  const { bytes } = captured;
  const whole = parse(captured).pageNumbers.length;
  assert(bytes.length > 100_000);
  const firstEnd = 512 + bytes.readUInt32BE(8) * 520;
  for (const size of [512, 1031, 1032, firstEnd - 1]) {
    const journal = parseJournal(journalFile(bytes.subarray(0, size)));
    assert.equal(journal?.reliable, false, `cut to ${size}`);
    assert.equal(journal?.pageNumbers.length, Math.max(0, Math.floor((size - 512) / 520)));
  }
  assert.equal(parseJournal(journalFile(bytes.subarray(0, 511))), undefined);
  const damaged = Buffer.from(bytes);
  damaged[512 + 520 * 2 + 4 + 312] ^= 1;
  const journal = parseJournal(journalFile(damaged));
  assert.equal(journal?.reliable, false);
  assert(journal && journal.pageNumbers.length < whole);
});

/** A segment with records of these pages, each filled with zeros; padded to a sector. */
function segment(header: { count: number; nonce: number; original: number }, pgnos: number[]) {
  const [pageSize, sector] = [65536, 512];
  const head = Buffer.alloc(sector);
  MAGIC.copy(head);
  [header.count, header.nonce, header.original, sector, pageSize].forEach((value, i) => {
    head.writeUInt32BE(value, 8 + i * 4);
  });
  const records = pgnos.map((pgno) => {
    const record = Buffer.alloc(pageSize + 8);
    record.writeUInt32BE(pgno);
    record.writeUInt32BE(header.nonce, 4 + pageSize);
    return record;
  });
  const bytes = Buffer.concat([head, ...records]);
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & (sector - 1))]);
}

test('where a segment ends, and what may follow it', () => {
  const toEnd = 0xffffffff;
  const lockPage = 16385;
  const original = 20000;
  const read = (...segments: Buffer[]) => {
    const journal = parseJournal(journalFile(Buffer.concat(segments)));
    assert(journal);
    return { pages: [...journal.pageNumbers], reliable: journal.reliable };
  };
  const first = segment({ count: 2, nonce: 5, original }, [9, 3]);
  assert.deepEqual(read(first, segment({ count: 2, nonce: 6, original }, [7, 20001])), {
    pages: [3, 7, 9],
    reliable: true,
  });
  assert.deepEqual(read(first, segment({ count: 0, nonce: 6, original }, [7])), {
    pages: [3, 7, 9],
    reliable: true,
  });
  assert.deepEqual(read(first, segment({ count: 1, nonce: 6, original: 19999 }, [7])), {
    pages: [3, 9],
    reliable: false,
  });
  const noSync = segment({ count: toEnd, nonce: 5, original }, [9, lockPage, 3]);
  assert.deepEqual(read(noSync), { pages: [9], reliable: true });
  const old = segment({ count: 1, nonce: 6, original: 1 }, [1]);
  assert.deepEqual(read(segment({ count: toEnd, nonce: 5, original }, [9]), old), {
    pages: [9],
    reliable: true,
  });
  assert.equal(read(segment({ count: toEnd, nonce: 5, original }, [])).reliable, false);
  assert.equal(read(segment({ count: toEnd, nonce: 5, original: 0 }, [])).reliable, true);
});

test('any bytes behind a valid header are survived, with reads of bounded length', () => {
  const word = fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 0xffffffff }));
  const fields = fc.tuple(
    word,
    word,
    word,
    fc.constantFrom(32, 512, 65536),
    fc.constantFrom(512, 65536),
  );
  const body = fc.array(word, { maxLength: 600 });
  fc.assert(
    fc.property(fields, body, fc.nat(300_000), (header, words, padding) => {
      const bytes = Buffer.alloc(28 + words.length * 4 + padding);
      MAGIC.copy(bytes);
      [...header, ...words].forEach((value, i) => {
        bytes.writeUInt32BE(value, 8 + i * 4);
      });
      const journal = parseJournal({
        size: bytes.length,
        read(offset, length) {
          assert(length <= 1 << 18 && offset >= 0);
          return bytes.subarray(offset, offset + length);
        },
      });
      if (journal) assert(journal.pageNumbers.every((pgno) => pgno <= journal.originalPageCount));
    }),
  );
});
