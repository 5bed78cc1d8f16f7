import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { loadConfig } from '../../../src/config/load.ts';
import { createLayout, layoutOf } from '../../../src/store/layout.ts';

describe('the snapshots section', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-test-'));
  after(() => fs.rmSync(folder, { recursive: true }));
  const loaded = (section: string) => {
    const file = path.join(folder, 'litefs.yml');
    fs.writeFileSync(file, section);
    return loadConfig(file, { env: {}, cwd: folder, expandEnv: true });
  };
  const load = (section: string) => loaded(section).config.snapshots;

  it('is not there unless it is written', () => {
    assert.equal(load('fuse: {dir: /litefs}'), undefined);
  });

  it('has defaults, also when it is empty', () => {
    assert.deepEqual(load('snapshots:'), {
      dir: '/var/backups/litefs-lite',
      schedule: ['0 3 * * *'],
      timezone: undefined,
      databases: undefined,
      on: 'primary',
      incrementsMs: 10_000,
      verify: 'full',
      compress: true,
      rateMax: 0,
      nice: 10,
      keep: { last: 3, hourly: 24, daily: 7, weekly: 4, monthly: 12, withinMs: 172_800_000 },
      pre: undefined,
      post: undefined,
      hookMsMax: 3_600_000,
    });
  });

  it('warns of restore points that would be too many files', () => {
    const year = 'snapshots: {keep: {within: 365d}';
    assert.match(loaded(`${year}}`).warnings.join(), /keep up to 3153600 files of a database/);
    assert.deepEqual(loaded(`${year}, increments: 10m}`).warnings, []);
    assert.deepEqual(loaded(`${year}, increments: off}`).warnings, []);
    assert.deepEqual(loaded('snapshots:').warnings, []);
  });

  it('takes several times, seconds, off, and a directory beside the config', () => {
    const snapshots = load(
      'snapshots: {dir: backups, schedule: ["0 3 * * *", "*/30 * * * * *"], timezone: Europe/Berlin, increments: off, keep: {daily: 0, within: 7d}}',
    );
    assert.equal(snapshots?.dir, path.join(folder, 'backups'));
    assert.deepEqual(snapshots?.schedule, ['0 3 * * *', '*/30 * * * * *']);
    assert.equal(snapshots?.incrementsMs, 0);
    assert.equal(snapshots?.keep.daily, 0);
    assert.equal(snapshots?.keep.withinMs, 604_800_000);
  });

  for (const [section, message] of [
    [
      '{schedule: "0 3 * *"}',
      /1:23: snapshots\.schedule is not a cron expression \(expected 5 or 6/,
    ],
    ['{schedule: ["0 3 * * *", "61 * * * *"]}', /snapshots\.schedule.*is not a cron expression/],
    [
      '{schedule: "0 3 1-99999999999 * *"}',
      /1:23: snapshots\.schedule is not a cron .*99999999999/,
    ],
    ['{timezone: Mars/Olympus}', /1:23: snapshots\.timezone is not a time zone/],
    ['{increments: 10ms}', /is shorter than a second/],
    ['{keep: {dayly: 3}}', /did you mean daily/],
    ['{keep: {last: -1}}', /snapshots\.keep\.last/],
    ['{dir: /litefs/backups}', /snapshots\.dir lies in the mount \(\/litefs\)/],
    ['{dir: /litefs}', /snapshots\.dir lies in the mount \(\/litefs\)/],
    ['{dir: /var/lib/litefs/tree/backups}', /snapshots\.dir has other files of data\.dir/],
    ['{dir: /var/lib/litefs}', /snapshots\.dir has other files of data\.dir/],
  ] as const) {
    it(`${section} is an error`, () => {
      assert.throws(() => load(`snapshots: ${section}\n`), { message });
    });
  }

  // On 25311ce `cuts` was taken, and emptied at each start with all archives in it.
  it('lies in no folder that a node makes below data.dir, whichever these are', () => {
    const data = path.join(folder, 'data');
    createLayout(layoutOf(data));
    const folders = fs.readdirSync(data);
    assert(folders.includes('cuts') && folders.includes('tree'), folders.join());
    for (const name of folders) {
      for (const dir of [name, `${name}/backups`]) {
        const config = `data: {dir: ${data}}\nsnapshots: {dir: ${path.join(data, dir)}}\n`;
        const message = /snapshots\.dir has other files of data\.dir/;
        assert.throws(() => load(config), { message }, dir);
      }
    }
    assert.equal(
      load(`data: {dir: ${data}}\nsnapshots: {dir: ${data}/backups}`)?.dir,
      `${data}/backups`,
    );
  });
});
