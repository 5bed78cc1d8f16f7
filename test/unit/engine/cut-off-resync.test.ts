/**
 * A resync that is cut off at each change that it makes on the disk, with the process or with the power: at the next start
 * the replica has what it had, or what it was to have, at that position. As long as the table of checksums and the log went first,
 * it served what was there at 0/0, half written or sound; each of these failed so.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { pageChecksum } from '../../../src/kernels/checksum.ts';
import { formatPosition } from '../../../src/ltx/position.ts';
import { layoutOf } from '../../../src/store/layout.ts';
import { EngineStand } from '../../harness/engine-stand.ts';
import { databaseImage } from '../../harness/image.ts';
import { withFolder } from '../os/folder.ts';
import { Disk } from './cut-off.ts';
import { NodeStand } from './node-stand.ts';

const NAME = 'app.db';
const REPLICA = { role: 'replica', formerRole: 'replica' } as const;
const PAGE_BYTES = 4096;
const TABLE = 'CREATE TABLE t(id INTEGER PRIMARY KEY, data BLOB);';
const ROWS = (n: number, what: string) =>
  `WITH r(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM r WHERE i<${n})
   INSERT OR REPLACE INTO t SELECT i, hex(zeroblob(600)) || '${what}' FROM r;`;

interface Case {
  readonly name: string;
  /** SQL of the replica's transactions, none for no database. */
  readonly before: readonly string[];
  /** SQL of the primary's. */
  readonly after: readonly string[];
  readonly diverged?: boolean;
}

const WAL = 'PRAGMA journal_mode=wal;';
const CASES: readonly Case[] = [
  {
    name: 'in WAL mode',
    before: [WAL + TABLE, WAL + ROWS(20, 'a')],
    after: [WAL + TABLE, WAL + ROWS(20, 'a'), WAL + ROWS(5, 'b'), WAL + ROWS(9, 'c')],
  },
  {
    name: 'back to an earlier transaction',
    before: [WAL + TABLE, WAL + ROWS(20, 'a'), WAL + ROWS(6, 'x'), WAL + ROWS(7, 'y')],
    after: [WAL + TABLE, WAL + ROWS(20, 'b')],
    diverged: true,
  },
  {
    name: 'with a rollback journal',
    before: [TABLE, ROWS(20, 'a')],
    after: [TABLE, ROWS(20, 'a'), ROWS(5, 'b'), ROWS(9, 'c')],
  },
  {
    name: 'to another page size',
    before: [WAL + TABLE, WAL + ROWS(20, 'a')],
    after: [`PRAGMA page_size=1024; ${TABLE}`, ROWS(20, 'b'), ROWS(4, 'c')],
    diverged: true,
  },
  { name: 'of a new database', before: [], after: [WAL + TABLE, WAL + ROWS(20, 'a')] },
  {
    name: 'of a new database with a rollback journal',
    before: [],
    after: [TABLE, ROWS(20, 'a')],
  },
];

/** Entries of a primary that ran these transactions, and its database. */
function primaryWith(dir: string, statements: readonly string[]) {
  const node = new NodeStand(dir);
  try {
    for (const sql of statements) {
      node.sql(sql);
      node.capture(!sql.includes('wal'));
    }
    const { position, pageSize, pageCount } = node.db;
    const image = pageCount > 0 ? databaseImage(node.file) : Buffer.alloc(0);
    return { entries: node.entries, image, position, pageSize, pageCount };
  } finally {
    node.close();
  }
}

type Primary = ReturnType<typeof primaryWith>;

async function resync(stand: EngineStand, to: Primary, diverged: boolean): Promise<void> {
  const { position, pageSize, pageCount, image } = to;
  const base = { position, pageSize, pageCount, diverged };
  const { resync: handle } = await stand.call('resyncBegin', { database: NAME, ...base });
  const known = stand.engine.registry.get(NAME);
  const records: Buffer[] = [];
  for (let pgno = 1; pgno <= pageCount; pgno++) {
    const page = image.subarray((pgno - 1) * pageSize, pgno * pageSize);
    const isSame =
      known?.pageSize === pageSize && known.sums.get(pgno) === pageChecksum(pgno, page);
    if (isSame) continue;
    const number = Buffer.alloc(4);
    number.writeUInt32BE(pgno);
    records.push(number, page);
  }
  const bytes = Buffer.concat(records);
  const shared = new SharedArrayBuffer(bytes.length);
  Buffer.from(shared).set(bytes);
  await stand.call('resyncPages', {
    resync: handle,
    records: shared,
    bytes: bytes.length,
  } as never);
  await stand.call('resyncFinish', { resync: handle, position });
}

/** A replica with the older state, part of it in the -wal alone; resyncs, is cut off at that change, and starts again. */
async function cutOff(
  t: TestContext,
  dir: string,
  { diverged = false }: Case,
  [old, now]: readonly [Primary, Primary],
  at: number,
  powerWent: boolean,
): Promise<boolean> {
  const stand = new EngineStand(dir, REPLICA);
  await stand.start();
  const disk = new Disk(t, dir);
  for (const bytes of old.entries) {
    await stand.call('apply', { database: NAME, source: { bytes: new Uint8Array(bytes) } });
  }
  stand.engine.registry.get(NAME)?.log.sync();
  disk.cutAt(at);
  try {
    await resync(stand, now, diverged);
  } catch (error) {
    if (disk.cut === undefined) throw error;
  }
  const isCut = disk.cut !== undefined;
  stand.die();
  disk.restart(powerWent);
  const where = isCut ? `cut off at change ${at}, ${disk.cut}` : 'not cut off';

  const next = new EngineStand(dir, REPLICA);
  next.engine.recover();
  assert.deepEqual(fs.readdirSync(layoutOf(dir).quarantine), [], where);
  const db = next.engine.registry.get(NAME);
  const position = formatPosition(db?.position ?? { txid: 0, checksum: 0n });
  const expected = [now, old].find((state) => formatPosition(state.position) === position);
  assert(expected, `${where}: at ${position}`);
  if (!isCut) assert.equal(expected, now);
  assert.equal(db?.status.state ?? 'ok', 'ok');
  assert.equal(fs.existsSync(path.join(layoutOf(dir).state, `${NAME}.image`)), false);
  if (expected.pageCount === 0) {
    assert(!fs.existsSync(next.file(NAME)), `${where}: a file without a position`);
  } else {
    next.die();
    // What a reader sees, whose -wal is empty after a start.
    const file = fs.readFileSync(next.file(NAME));
    assert(file.equals(expected.image), `${where}: the file is not that of ${position}`);
  }
  next.die();
  return isCut;
}

for (const one of CASES) {
  for (const powerWent of [false, true]) {
    test(`${one.name}, ${powerWent ? 'with the power' : 'with the process'}`, (t) =>
      withFolder(async (folder) => {
        const old = primaryWith(path.join(folder, 'old'), one.before);
        const now = primaryWith(path.join(folder, 'now'), one.after);
        assert(one.before.length === 0 || old.pageSize === PAGE_BYTES);
        for (let at = 1; ; at++) {
          const dir = path.join(folder, `${at}`);
          if (!(await cutOff(t, dir, one, [old, now], at, powerWent))) break;
        }
      }));
  }
}
