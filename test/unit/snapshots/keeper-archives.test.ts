/** What the keeper of a node's archives makes of what it finds in them. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { CHECKSUM_FLAG, pageChecksum } from '../../../src/kernels/checksum.ts';
import { Archive, archiveFolders } from '../../../src/snapshots/archive.ts';
import { SNAPSHOT_LEVEL } from '../../../src/snapshots/archive-file.ts';
import { checkFile } from '../../../src/snapshots/image.ts';
import { restore } from '../../../src/snapshots/restore.ts';
import { snapshotTasks } from '../../../src/snapshots/tasks.ts';
import { until } from '../../harness/cluster.ts';
import { PAGE, POSITION, standForEach } from './keeper-stand.ts';

describe('the keeper and its archives', () => {
  const standOf = standForEach();

  it('cuts a snapshot anew that is damaged, and only then lets go of an older one', async () => {
    const stand = standOf();
    const keep = { last: 1, hourly: 0, daily: 0, weekly: 0, monthly: 0, withinMs: 0 };
    const archive = new Archive(path.join(stand.folder, 'backups', 'app.db'));
    const first = stand.keeperOf({});
    first.start();
    await first.snapshot();
    await first.close();
    const [newest] = archive.list();
    const old = archive.pathOf({ level: SNAPSHOT_LEVEL, minTxid: 1, maxTxid: 1 });
    fs.copyFileSync(archive.pathOf(newest), old);
    const whole = fs.readFileSync(archive.pathOf(newest));
    const bytes = Buffer.from(whole);
    bytes[bytes.length - 1] ^= 1;
    fs.writeFileSync(archive.pathOf(newest), bytes);
    const own = stand.keeperOf({
      schedule: ['* * * * * *'],
      keep,
      post: `test -e ${old} && touch ${stand.folder}/kept`,
    });
    own.start();
    await until('told that it is damaged', () =>
      own.warnings().join().includes(archive.pathOf(newest)),
    );
    await until('the older one is gone', () => !fs.existsSync(old));
    assert(fs.existsSync(path.join(stand.folder, 'kept')));
    await until('all well', () => own.warnings().length === 0);
    checkFile(archive.pathOf(newest));
  });

  it('gives a snapshot of an idle database the time of its last transaction', async () => {
    const stand = standOf();
    const committedMs = Date.parse('2026-11-23T22:00:00Z');
    const archive = new Archive(path.join(stand.folder, 'backups', 'app.db'));
    const tasks = snapshotTasks();
    const base = { position: stand.position, pageSize: PAGE.length, pageCount: 1, compress: true };
    const snapshot = tasks.begin({
      archive: archive.root,
      base: { ...base, timestampMs: committedMs },
    });
    tasks.pages({ snapshot, records: Buffer.concat([Buffer.from('00000001', 'hex'), PAGE]) });
    const scratch = { check: 'off', scratchDir: stand.folder, nowMs: 0 } as const;
    const { file } = tasks.finish({ snapshot, entries: [], end: stand.position, ...scratch });
    // As an increment: all that the database ever had.
    const increment = archive.pathOf({ ...file, level: 0 });
    fs.mkdirSync(path.dirname(increment), { recursive: true });
    fs.renameSync(archive.pathOf(file), increment);
    const own = stand.keeperOf({ incrementsMs: 60_000 });
    own.start();
    const { snapshots } = await own.snapshot();
    assert.equal(checkFile(archive.pathOf(snapshots[0].file)).timestampMs, committedMs);
  });

  it('says so when it goes on from a snapshot behind what the log no longer has', async () => {
    const stand = standOf();
    const own = stand.keeperOf({ incrementsMs: 20 });
    own.start();
    await own.increment('app.db');
    stand.position = { ...POSITION, txid: 5 };
    await own.snapshot();
    stand.logBegin = 5;
    await own.increment('app.db');
    const gap =
      /app\.db: transactions after 0000000000000003\/\w+ are not in the archive \(the log no longer has it\); it goes on from the snapshot at 0000000000000005\//;
    assert(
      stand.logged.some((text) => gap.test(text)),
      stand.logged.join('\n'),
    );
    assert.equal(stand.cuts.length, 2);
  });

  it('cuts a snapshot anew when the archive was emptied meanwhile', async () => {
    const stand = standOf();
    const own = stand.keeperOf({ incrementsMs: 20 });
    own.start();
    const archive = new Archive(path.join(stand.folder, 'backups', 'app.db'));
    const isThere = () => archive.list().length === 1;
    await until('the first', isThere);
    fs.rmSync(archive.root, { recursive: true });
    for (const listener of stand.listeners) listener({ database: 'app.db' });
    await until('another, with the increments', isThere);
    fs.rmSync(archive.root, { recursive: true });
    const { snapshots, unchanged } = await own.snapshot('app.db');
    assert.deepEqual([snapshots.length, unchanged.length], [1, 0]);
    assert(isThere());
    assert.deepEqual(own.warnings(), []);
  });

  it('goes on from the newest file that is whole, names what is not, and cuts a snapshot', async () => {
    const stand = standOf();
    const first = stand.keeperOf({});
    first.start();
    await first.snapshot();
    await first.close();
    const archive = new Archive(path.join(stand.folder, 'backups', 'app.db'));
    const damaged = archive.pathOf({ level: 0, minTxid: 4, maxTxid: 5 });
    fs.mkdirSync(path.dirname(damaged));
    fs.writeFileSync(damaged, 'of another program');
    stand.position = { txid: 5, checksum: POSITION.checksum };
    const own = stand.keeperOf({ incrementsMs: 20 });
    own.start();
    await until(
      () => `a snapshot: ${own.warnings()}`,
      () => archive.list().some(({ level, maxTxid }) => level === SNAPSHOT_LEVEL && maxTxid === 5),
    );
    assert(
      stand.logged.some((text) => text.includes(damaged)),
      stand.logged.join('\n'),
    );
    assert.deepEqual(own.warnings(), []);
  });

  for (const name of ['app.db', 'a'.repeat(240)])
    it(`keeps a snapshot of a former life of ${name.slice(0, 6)} apart, though increments had not come so far`, async () => {
      const stand = standOf();
      stand.names = [name];
      const become = (txid: number, letter: string) => {
        stand.page = Buffer.alloc(PAGE.length, letter);
        stand.position = { txid, checksum: pageChecksum(1, stand.page) | CHECKSUM_FLAG };
      };
      const own = stand.keeperOf({ post: undefined });
      own.start();
      become(3, 'a');
      await own.snapshot();
      become(4, 'b');
      await own.snapshot();
      // Removed, made anew, and as many transactions later.
      become(4, 'c');
      await own.snapshot();
      const lives = archiveFolders(path.join(stand.folder, 'backups'));
      assert.equal(lives.length, 2, lives.join());
      for (const life of lives) {
        const letter = life === name ? 'c' : 'b';
        const archive = new Archive(path.join(stand.folder, 'backups', life));
        const output = path.join(stand.folder, letter);
        restore(archive, { kind: 'txid', txid: 4 }, output, { check: 'quick', force: false });
        assert.equal(fs.readFileSync(output, 'latin1')[0], letter);
      }
    });
});
