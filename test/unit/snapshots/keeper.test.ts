/** The keeper of a node's archives: when it cuts and increments, and what it tells of that. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it, mock } from 'node:test';
import { archiveFolders } from '../../../src/snapshots/archive.ts';
import { until } from '../../harness/cluster.ts';
import { PAGE, POSITION, standForEach } from './keeper-stand.ts';

describe('the keeper of snapshots', () => {
  const standOf = standForEach();

  it('never lets two runs overlap: not while the command before one goes on, nor when asked for', async () => {
    const stand = standOf();
    const own = stand.keeperOf({
      schedule: ['* * * * * *'],
      pre: `echo . >> ${stand.folder}/pre; sleep 2.5`,
    });
    own.start();
    stand.delayMs = 300;
    const asked = await Promise.all([own.snapshot(), own.snapshot(), own.snapshot()]);
    assert.deepEqual(
      asked.map(({ snapshots, unchanged }) => [snapshots.length, unchanged.length]),
      [
        [1, 0],
        [0, 1],
        [0, 1],
      ],
    );
    await until('two runs by the clock', () => stand.told().length >= 2);
    assert.equal(stand.most, 1);
    const begun = fs.readFileSync(path.join(stand.folder, 'pre'), 'utf8').trim().split('\n').length;
    assert(begun <= stand.told().length + 1, `${begun} begun, ${stand.told().length} ended`);
  });

  it('tells of increments that fail, once, and once when they go on', async () => {
    const stand = standOf();
    fs.writeFileSync(path.join(stand.folder, 'backups'), 'in its place');
    const own = stand.keeperOf({ incrementsMs: 20 });
    own.start();
    await until(
      () => `stand.told ${own.warnings()}`,
      () => stand.told().length === 1,
    );
    assert.match(stand.told()[0], /^failed snapshots/);
    assert(own.warnings().length > 0);
    for (let round = 0; round < 5; round++) {
      for (const listener of stand.listeners) listener({ database: 'app.db' });
      await new Promise((end) => setTimeout(end, 30));
    }
    assert.equal(stand.told().length, 1, stand.told().join('; '));
    fs.rmSync(path.join(stand.folder, 'backups'));
    await until(
      () => `stand.told again: ${stand.told()} ${own.warnings()}`,
      () => stand.told().length === 2,
    );
    assert.equal(stand.told()[1], 'ok');
    assert.deepEqual(own.warnings(), []);
  });

  it('makes up for a missed run, and tries it again until it goes well', async () => {
    const stand = standOf();
    mock.timers.enable({ apis: ['setInterval'] });
    stand.missARun();
    fs.writeFileSync(path.join(stand.folder, 'no'), '');
    const own = stand.keeperOf({ schedule: ['0 0 * * *'], pre: `test ! -e ${stand.folder}/no` });
    own.start();
    await until('a run that failed', () => stand.told().length === 1);
    assert.match(stand.told()[0], /^failed the command pre failed/);
    mock.timers.tick(5 * 60_000);
    await new Promise((end) => setTimeout(end, 100));
    assert.equal(stand.told().length, 1, 'told once');
    assert.equal(own.lastRun?.ok, false);
    fs.rmSync(path.join(stand.folder, 'no'));
    mock.timers.tick(5 * 60_000);
    await until('a run that went well', () => stand.told().length === 2);
    assert.equal(stand.told()[1], 'ok');
    assert.deepEqual(
      own.lastRun?.snapshots.map(({ file }) => file.maxTxid),
      [POSITION.txid],
    );
  });

  it('tries only those again of a run that have failed, and then tells of it', async () => {
    const stand = standOf();
    mock.timers.enable({ apis: ['setInterval'] });
    stand.names = ['bad.db', 'good.db'];
    stand.busy.add('bad.db');
    stand.missARun();
    stand.keeperOf({ schedule: ['0 0 * * *'] }).start();
    await until('a run that failed', () => stand.told().length === 1);
    assert.match(stand.told()[0], /^failed bad\.db: somebody holds it/);
    stand.position = { ...POSITION, txid: 4 };
    const later = (condition: () => boolean) => () => {
      mock.timers.tick(5 * 60_000);
      return condition();
    };
    await until(
      'tried again, and again',
      later(() => stand.cuts.length >= 4),
    );
    assert.equal(stand.told().length, 1, stand.told().join('; '));
    stand.busy.clear();
    await until(
      'a run that went well',
      later(() => stand.told().length === 2),
    );
    assert.equal(stand.told()[1], 'ok');
    assert.deepEqual(
      stand.cuts.filter((database) => database === 'good.db'),
      ['good.db'],
    );
    assert.deepEqual(stand.keeper?.warnings(), []);
  });

  it('tidies also while nothing can be written, and does not take that for an end of the trouble', async () => {
    const stand = standOf();
    mock.timers.enable({ apis: ['setInterval'] });
    stand.busy.add('app.db');
    const own = stand.keeperOf({ incrementsMs: 20, post: undefined });
    own.start();
    await until('it fails', () => own.warnings().length === 1);
    mock.timers.tick(5 * 60_000);
    await until('tidied', () => stand.ran.includes('tidy'));
    await own.list();
    assert.match(own.warnings().join(), /somebody holds it/);
  });

  it('makes up for what was slept through, once, though nothing has changed, and not at the next start', async () => {
    const stand = standOf();
    mock.timers.enable({ apis: ['setInterval'] });
    const options = { schedule: ['0 3 * * *'] };
    const first = stand.keeperOf(options);
    first.start();
    await until('begun', () => fs.existsSync(path.join(stand.folder, 'snapshot-run.json')));
    for (const [runs, own] of [
      [1, first],
      [2, undefined],
      [3, undefined],
    ] as const) {
      if (!own) {
        await stand.keeper?.close();
        const again = stand.keeperOf(options);
        again.start();
        await again.snapshot();
        await again.list();
        assert.equal(again.lastRun, undefined, 'nothing was missed');
      }
      stand.sleptMs += 24 * 3_600_000;
      await until(`${runs} runs`, () => {
        mock.timers.tick(5 * 60_000);
        return stand.told().length >= runs;
      });
      assert.deepEqual(stand.told(), Array(runs).fill('ok'));
      const startedAgoMs = Date.now() + stand.sleptMs - (stand.keeper?.lastRun?.startedAtMs ?? 0);
      assert(startedAgoMs < 60_000, 'not before it slept');
    }
  });

  it('has nothing to say of a database that was dropped before it came to it', async () => {
    const stand = standOf();
    const own = stand.keeperOf({ incrementsMs: 20 });
    stand.names = [];
    own.start();
    stand.names = ['other.db'];
    for (const name of ['app.db', 'other.db']) {
      for (const listener of stand.listeners) listener({ database: name });
    }
    const archives = path.join(stand.folder, 'backups');
    await until('the other is archived', () => fs.existsSync(path.join(archives, 'other.db')));
    await own.snapshot();
    assert.deepEqual(own.warnings(), []);
    assert.deepEqual(archiveFolders(archives), ['other.db']);
  });

  it('tells commands of databases by their names as text', async () => {
    const stand = standOf();
    stand.names = [Buffer.from('für.db').toString('latin1')];
    const post = `echo "$LITEFS_SNAPSHOT_DATABASES" >> ${stand.folder}/told`;
    stand.keeperOf({ schedule: ['* * * * * *'], post }).start();
    await until('told', () => stand.told().length > 0);
    assert.equal(stand.told()[0], 'für.db');
  });

  it('has the log wait for increments that come by themselves, not for those that are asked for', async () => {
    const stand = standOf();
    for (const incrementsMs of [0, 60_000]) {
      const own = stand.keeperOf({ incrementsMs });
      own.start();
      await own.increment('app.db');
      assert.deepEqual(stand.pins.at(-1), incrementsMs === 0 ? {} : { 'app.db': POSITION.txid });
      await own.close();
    }
  });

  it('writes no faster than it may', async () => {
    const stand = standOf();
    const own = stand.keeperOf({ rateMax: 1000 });
    own.start();
    await own.snapshot();
    const recordBytes = 4 + PAGE.length;
    assert.equal(stand.slept.length, 1);
    assert(
      stand.slept[0] > recordBytes - 100 && stand.slept[0] <= recordBytes,
      `${stand.slept[0]} ms`,
    );
  });
});
