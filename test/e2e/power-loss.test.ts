/**
 * The power goes. Nodes lie on ext4 on disks of which every write and flush is recorded (test/harness/power/), and start on
 * what a cut at some moment may have left. `npm run torture -- power` does it hundreds of times.
 */
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { playScenario, type Scenario } from '../harness/power/aftermath.ts';
import { liveAlone, lostAlone } from '../harness/power/alone.ts';
import { Crash, type Cut, chooseCut } from '../harness/power/crash.ts';
import { canMakeDisks } from '../harness/power/disks.ts';
import type { Life, LifeSettings } from '../harness/power/life.ts';
import { Probe } from '../harness/power/probe.ts';
import { powerRound } from '../harness/power/rounds.ts';
import { scratchFolder, sweep } from '../harness/power/scratch.ts';
import { allBanks, plainLife } from '../harness/power/settings.ts';
import { Stage } from '../harness/power/stage.ts';
import { SeededRandom } from '../harness/random.ts';

/** Transactions leave the log soon. */
const SHORT_LOG = { retention: '1s', 'retention-monitor-interval': '1s' };
const BOTH_MODES = [
  { journalMode: 'wal', synchronous: 'normal' },
  { journalMode: 'delete', synchronous: 'full' },
] as const;

const skip = canMakeDisks() ? false : 'it takes root, loop devices and mkfs.ext4';

async function inFolder(use: (dir: string, probe: Probe) => Promise<void>): Promise<void> {
  const dir = scratchFolder();
  const probe = new Probe();
  try {
    await use(dir, probe);
  } finally {
    probe.close();
    sweep(dir);
  }
}

/** Has something happen to two nodes, and to an application of the primary. */
async function livedAs(
  dir: string,
  settings: LifeSettings,
  happen: (stage: Stage) => Promise<void>,
): Promise<Life> {
  const stage = await Stage.open(path.join(dir, 'life'), settings);
  try {
    await happen(stage);
  } finally {
    await stage.close();
  }
  return stage.life();
}

/** Nodes start after a cut that has lost nothing that was on its way to the disk: only what was in memory. */
async function assertAllWell(
  dir: string,
  probe: Probe,
  life: Life,
  cut: Pick<Cut, 'at' | 'survivors'>,
  scenarios: readonly Scenario[],
): Promise<void> {
  for (const scenario of scenarios) {
    const fates = { primary: 'all', replica: 'all' } as const;
    const crash = new Crash(life, { ...cut, fates, seed: 1 }, path.join(dir, 'crash'), probe);
    const { findings, log } = await playScenario(crash, scenario, probe);
    crash.close();
    assert.deepEqual(findings, [], `${scenario}, cut at ${cut.at}\n${log}`);
  }
}

test('the disks of these tests keep what SQLite alone is promised', { skip }, async () => {
  const random = new SeededRandom();
  await inFolder(async (dir, probe) => {
    const life = await liveAlone(path.join(dir, 'life'), allBanks(), 2, random);
    for (let i = 0; i < 12; i++) {
      const crash = new Crash(life, chooseCut(life, random), path.join(dir, 'crash'), probe);
      if (i === 0) crash.assertSound('primary');
      const lost = await lostAlone(crash);
      assert.deepEqual(lost, [], `seed ${random.seed}: ${JSON.stringify(crash.cut)}`);
      crash.close();
    }
  });
});

test('nodes start on what random cuts have left', { skip }, async () => {
  const { seed } = new SeededRandom();
  const bad: string[] = [];
  await powerRound({
    seed,
    events: 3,
    cuts: 3,
    isShort: true,
    told: ({ crash, scenario, findings }) => {
      for (const { kind, database, detail } of findings) {
        bad.push(`${scenario} ${JSON.stringify(crash.cut)}: ${kind} ${database}: ${detail}`);
      }
    },
  });
  assert.deepEqual(bad, [], `seed ${seed}`);
});

/**
 * C2. A marker vouched for a database of which nothing was flushed. 25311ce started at the position of the stop, state ok,
 * with the pages of the last flush; beside its primary it said that it was in sync, and served them for good.
 */
test('a clean stop of a replica vouches for no page that is not on the disk', {
  skip,
}, async () => {
  await inFolder(async (dir, probe) => {
    const settings = plainLife([{ journalMode: 'delete', synchronous: 'full' }]);
    let at = 0;
    const life = await livedAs(dir, settings, async (stage) => {
      await stage.start('primary');
      await stage.start('replica');
      await stage.writeAndClose(20);
      stage.leaveRoom();
      await stage.inSync();
      stage.flushAll('replica');
      await stage.writeAndClose(10);
      await stage.inSync();
      await stage.copySurvivors();
      await stage.stop('replica');
      stage.flushAnother('replica');
      at = stage.records;
    });
    const cut = { at, survivors: life.survivors[0] };
    const scenarios = ['replica-alone', 'replica-of-survivor', 'promoted'] as const;
    await assertAllWell(dir, probe, life, cut, scenarios);
  });
});

/** C2 on a primary. 25311ce did the same there, with databases whose applications do not flush. */
test('a clean stop of a primary vouches for no page that is not on the disk', {
  skip,
}, async () => {
  await inFolder(async (dir, probe) => {
    const settings = plainLife([
      { journalMode: 'wal', synchronous: 'off' },
      { journalMode: 'delete', synchronous: 'off' },
    ]);
    let at = 0;
    const life = await livedAs(dir, settings, async (stage) => {
      await stage.start('primary');
      await stage.writeAndClose(20);
      stage.leaveRoom();
      stage.flushAll('primary');
      await stage.writeAndClose(20);
      await stage.stop('primary');
      stage.flushAnother('primary');
      at = stage.records;
    });
    await assertAllWell(dir, probe, life, { at }, ['primary-alone']);
  });
});

/**
 * C3. The pages of a replica were on the disk before the log that redoes them: the kernel had written back a -wal, and not
 * the log. 25311ce wrote pages of older transactions into the file until it found that it did not have all of them: a
 * sound file became a corrupt one, at position 0/0, state ok, and the truth when promoted, with TXIDs from 1.
 */
test('a replica whose log has lost its end keeps a sound file', { skip }, async () => {
  await inFolder(async (dir, probe) => {
    const data = { retention: '1s', 'retention-monitor-interval': '1s' };
    const settings = plainLife([{ journalMode: 'wal', synchronous: 'normal' }], { data });
    const cuts: number[] = [];
    const life = await livedAs(dir, settings, async (stage) => {
      await stage.start('primary');
      await stage.start('replica');
      await stage.writeAndClose(20);
      await stage.inSync();
      await stage.stop('replica');
      await stage.start('replica');
      await stage.writeAndClose(2);
      await stage.logsBeginLater();
      for (let i = 0; i < 3; i++) {
        await stage.writeAndClose(6);
        await stage.inSync();
        stage.writeBack('replica', 'wal-normal.db-wal');
        stage.flushAnother('replica');
        cuts.push(stage.records);
      }
    });
    for (const at of cuts)
      await assertAllWell(dir, probe, life, { at }, ['replica-alone', 'promoted']);
  });
});

/**
 * C3, the other way round: the log was there, and the pages were not. 25311ce removed old transactions from the log by their
 * age alone, while nothing of what they had written was flushed: the next start could redo the newest of them only, and did
 * so, on a file that lacked the others.
 */
test('a replica forgets no transaction whose pages are not on the disk', { skip }, async () => {
  await inFolder(async (dir, probe) => {
    let at = 0;
    const life = await livedAs(dir, plainLife(BOTH_MODES, { data: SHORT_LOG }), async (stage) => {
      await stage.start('primary');
      await stage.start('replica');
      await stage.writeAndClose(30);
      stage.leaveRoom();
      await stage.inSync();
      await stage.stop('replica');
      stage.flushAll('replica');
      await stage.start('replica');
      await stage.writeAndClose(12);
      await stage.inSync();
      await stage.copySurvivors();
      await stage.logsBeginLater();
      stage.flushAnother('replica');
      at = stage.records;
    });
    const cut = { at, survivors: life.survivors[0] };
    await assertAllWell(dir, probe, life, cut, [
      'replica-alone',
      'replica-of-survivor',
      'promoted',
    ]);
  });
});

/**
 * C3 after a resync. 25311ce removed the log, and put the pages it had fetched in place; neither they nor the table of page
 * checksums, which alone said where they stand, was flushed. After the cut it had pages, position 0/0, and state ok.
 */
test('a replica that has fetched all pages stands where its disk does', { skip }, async () => {
  await inFolder(async (dir, probe) => {
    const cuts: number[] = [];
    const life = await livedAs(dir, plainLife(BOTH_MODES, { data: SHORT_LOG }), async (stage) => {
      await stage.start('primary');
      await stage.writeAndClose(30);
      await stage.stop('primary');
      await stage.start('primary');
      await stage.writeAndClose(6);
      await stage.logsBeginLater('primary');
      await stage.start('replica');
      await stage.inSync();
      stage.flushAnother('replica');
      cuts.push(stage.records);
      await stage.stop('replica');
      await stage.start('replica');
      stage.flushAnother('replica');
      cuts.push(stage.records);
    });
    for (const at of cuts)
      await assertAllWell(dir, probe, life, { at }, ['replica-alone', 'promoted']);
  });
});
