/** Readers on a replica are never disturbed by what is replicated, and never get to write. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { sqlite3 } from '../harness/app.ts';
import { inSync, type TestNode, until, WAIT_MS_MAX } from '../harness/cluster.ts';
import { assertReplicated, describePair, open, type Pair } from '../harness/replicated.ts';
import { bankWriter, checkBank, createBank, runClient } from '../harness/sqlite-client.ts';

const TRANSACTIONS = 2000;
const READERS = 4;
const DELAY_MS_MAX = 2000;
/** The replica checkpoints each 4 MB of -wal; this many transactions of that size write several times that. */
const BURST = 1500;
const BURST_NOTE_BYTES = 12_000;

/** Asserts that the replica is where the primary is within a moment. */
async function assertPrompt({ primary, replica }: Pair, name: string): Promise<void> {
  const position = await primary.position(name);
  await until(
    `${name} is at ${position} on the replica`,
    async () => (await replica.position(name)) === position,
    DELAY_MS_MAX,
  );
}

function walHeader(node: TestNode, name: string): string {
  const fd = fs.openSync(node.backing(`${name}-wal`), 'r');
  try {
    const header = Buffer.alloc(32);
    fs.readSync(fd, header);
    return header.toString('hex');
  } finally {
    fs.closeSync(fd);
  }
}

describePair('readers on a replica', (pair) => {
  test('may ask for the position in a transaction that replication passes', async (t) => {
    const name = 'asked.db';
    createBank(pair.primary.file(name), 'delete');
    await assertReplicated(pair, name);
    const before = await pair.replica.position(name);
    const reader = open(t, pair.replica.file(name), { readonly: true, timeout: 0 });
    reader.exec('BEGIN');
    const seen = checkBankInside(reader);
    bankWriter(open(t, pair.primary.file(name)))();
    await assertPrompt(pair, name);
    assert.notEqual(await pair.replica.position(name), before);
    assert.deepEqual(checkBankInside(reader), seen);
    reader.exec('COMMIT');
    assert.equal(checkBank(reader), 1);
  });

  test('find all of it in the file alone once nothing has come for a second', async (t) => {
    const name = 'idle.db';
    createBank(pair.primary.file(name), 'delete');
    const transact = bankWriter(open(t, pair.primary.file(name)));
    for (let i = 0; i < 5; i++) transact();
    await assertPrompt(pair, name);
    const primary = fs.readFileSync(pair.primary.backing(name));
    await until('the file is current', () =>
      fs.readFileSync(pair.replica.backing(name)).equals(primary),
    );
  });

  test('keep their snapshot while replication and checkpoints go on', async (t) => {
    const name = 'snapshot.db';
    createBank(pair.primary.file(name), 'wal');
    await assertReplicated(pair, name);
    const db = open(t, pair.primary.file(name));
    const transact = bankWriter(db);
    transact();
    await assertPrompt(pair, name);
    const reader = open(t, pair.replica.file(name), { readonly: true, timeout: 0 });
    reader.exec('BEGIN');
    const before = checkBankInside(reader);
    for (let i = 0; i < TRANSACTIONS; i++) {
      transact();
      if (i % 100 === 0) db.pragma(`wal_checkpoint(${i % 200 === 0 ? 'TRUNCATE' : 'PASSIVE'})`);
      if (i % 250 !== 0) continue;
      await assertPrompt(pair, name);
      assert.deepEqual(checkBankInside(reader), before);
    }
    await assertPrompt(pair, name);
    assert.deepEqual(checkBankInside(reader), before);
    assert.equal(reader.pragma('integrity_check', { simple: true }), 'ok');
    // Another reader sees everything meanwhile.
    const second = open(t, pair.replica.file(name), { readonly: true, timeout: 0 });
    assert.equal(checkBank(second), 1 + TRANSACTIONS);
    reader.exec('COMMIT');
    assert.equal(checkBank(reader), 1 + TRANSACTIONS);
    await assertReplicated(pair, name);
  });

  test('open, read and close without waiting, and never meet a lock', async (t) => {
    const name = 'burst.db';
    createBank(pair.primary.file(name), 'wal');
    await assertReplicated(pair, name);
    const before = walHeader(pair.replica, name);
    const readers = Array.from({ length: READERS }, () =>
      runClient('read', pair.replica.file(name)),
    );
    const db = open(t, pair.primary.file(name));
    const transact = bankWriter(db, BURST_NOTE_BYTES);
    // When the readers leave a moment is chance.
    const untilMs = performance.now() + WAIT_MS_MAX;
    const goesOn = (i: number) =>
      i < BURST || (performance.now() < untilMs && walHeader(pair.replica, name) === before);
    for (let i = 0; goesOn(i); i++) {
      transact();
      if (i % 100 === 0) await inSync(pair.primary, pair.replica, name);
      if (i % 300 === 0) db.pragma('wal_checkpoint(RESTART)');
    }
    await inSync(pair.primary, pair.replica, name);
    for (const reader of readers) reader.end();
    const reads = (await Promise.all(readers.map(({ output }) => output))).map(Number);
    for (const count of reads) assert.ok(count > 20, `the readers read ${reads} times`);
    // All that while readers were there, the replica found moments to start its -wal over.
    assert.notEqual(walHeader(pair.replica, name), before);
    await assertReplicated(pair, name);
  });

  test('notice what is written under locking_mode=EXCLUSIVE, where no change counter tells', async (t) => {
    const name = 'exclusive.db';
    const file = pair.replica.file(name);
    createBank(pair.primary.file(name), 'delete');
    await assertReplicated(pair, name);
    const reader = open(t, file, { readonly: true });
    const writer = open(t, pair.primary.file(name));
    writer.pragma('locking_mode = exclusive');
    const transact = bankWriter(writer, 10);
    for (let count = 1; count <= 5; count++) {
      transact();
      await assertPrompt(pair, name);
      assert.equal(checkBank(reader), count);
    }
    await pair.replica.kill();
    reader.close();
    await pair.replica.start();
    await assertReplicated(pair, name);
    const idle = open(t, file, { readonly: true });
    assert.equal(checkBank(idle), 5);
    transact();
    await assertPrompt(pair, name);
    assert.equal(sqlite3(`file:${file}?mode=ro`, 'SELECT count(*) FROM moves'), '6');
    writer.close();
    bankWriter(open(t, pair.primary.file(name)), 10)();
    await assertPrompt(pair, name);
    assert.equal(checkBank(idle), 7);
    await assertReplicated(pair, name);
  });

  test('read through a memory map', async (t) => {
    const name = 'mapped.db';
    createBank(pair.primary.file(name), 'wal');
    await assertReplicated(pair, name);
    const transact = bankWriter(open(t, pair.primary.file(name)));
    const reader = open(t, pair.replica.file(name), { readonly: true, timeout: 0 });
    reader.pragma(`mmap_size = ${256 << 20}`);
    for (let round = 1; round <= 10; round++) {
      for (let i = 0; i < 150; i++) transact();
      await assertPrompt(pair, name);
      assert.equal(checkBank(reader), round * 150);
    }
    await assertReplicated(pair, name);
  });

  for (const mode of ['wal', 'delete']) {
    test(`cannot write to a database in ${mode} mode`, async (t) => {
      const name = `readonly-${mode}.db`;
      createBank(pair.primary.file(name), mode);
      await assertReplicated(pair, name);
      const db = open(t, pair.replica.file(name));
      const refused = /attempt to write a readonly database/;
      assert.throws(() => db.exec('INSERT INTO moves(n) VALUES(1)'), refused);
      assert.throws(() => db.exec('CREATE TABLE x(y)'), refused);
      assert.throws(() => db.exec('VACUUM'), refused);
      assert.throws(() => fs.unlinkSync(pair.replica.file(name)), /EROFS/);
      assert.throws(() => fs.truncateSync(pair.replica.file(name)), /EROFS/);
      assert.equal(checkBank(db), 0);
      // The connection that was refused goes on reading what comes.
      bankWriter(open(t, pair.primary.file(name)))();
      await assertPrompt(pair, name);
      assert.equal(checkBank(db), 1);
      await assertReplicated(pair, name);
    });
  }

  test('see a database that comes while they list the directory', async (t) => {
    const dir = fs.opendirSync(pair.replica.mount, { bufferSize: 1 });
    t.after(() => dir.closeSync());
    dir.readSync();
    const name = 'appears.db';
    createBank(pair.primary.file(name), 'wal');
    await until(`${name} is there`, () => fs.existsSync(pair.replica.file(name)));
    await assertPrompt(pair, name);
    const reader = open(t, pair.replica.file(name), { readonly: true, timeout: 0 });
    assert.equal(checkBank(reader), 0);
    while (dir.readSync());
    assert.ok(fs.readdirSync(pair.replica.mount).includes(name));
    await assertReplicated(pair, name);
  });

  for (const mode of ['wal', 'delete']) {
    test(`keep a connection while a database in ${mode} mode is dropped and made again`, async (t) => {
      const name = `dropped-${mode}.db`;
      const file = pair.primary.file(name);
      createBank(file, mode);
      await assertReplicated(pair, name);
      const reader = open(t, pair.replica.file(name), { readonly: true, timeout: 0 });
      assert.equal(checkBank(reader), 0);
      for (const suffix of ['', '-wal', '-shm']) fs.rmSync(`${file}${suffix}`, { force: true });
      await until(`${name} is gone`, () => !fs.existsSync(pair.replica.file(name)));
      // As with any file that is removed while it is open: what was there stays readable.
      assert.equal(checkBank(reader), 0);
      createBank(file, mode);
      bankWriter(open(t, file))();
      await assertReplicated(pair, name);
      const second = open(t, pair.replica.file(name), { readonly: true, timeout: 0 });
      assert.equal(checkBank(second), 1);
    });
  }
});

/** checkBank() for a connection that is in a transaction already. */
function checkBankInside(db: ReturnType<typeof open>): unknown {
  return db
    .prepare(
      'SELECT (SELECT count(*) FROM moves) AS moves, (SELECT sum(n) FROM a) AS a, (SELECT sum(n) FROM b) AS b',
    )
    .get();
}
