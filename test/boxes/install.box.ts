/** The README's install, by the letter, on two machines: the commands are read out of it. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Box } from '../../scripts/boxes/box.ts';
import { Lab } from '../../scripts/boxes/lab.ts';
import { CACHE, putPackage } from '../../scripts/boxes/package.ts';
import { until } from '../harness/cluster.ts';
import { commandsAfter } from './readme.ts';

const USER_MS_MAX = 60_000;

describe('the README’s install', () => {
  let lab: Lab;
  let box1: Box;
  let box2: Box;

  before(async () => {
    lab = await Lab.open(['box1', 'box2'], CACHE);
    [box1, box2] = lab.boxes;
    for (const box of lab.boxes) {
      putPackage(box);
      await box.ok('useradd --uid 4301 app');
    }
  });
  after(() => lab?.close());

  test('gives a replica that is in sync in less than a minute, with no step that hangs', async () => {
    const startedMs = performance.now();
    const [make, ...install] = commandsAfter('README.md', 'Debian 12 or newer:');
    assert.match(make, /npm run deb/);
    for (const box of lab.boxes) for (const command of install) await box.ok(`cd; ${command}`);

    let token = '';
    for (const command of commandsAfter('README.md', 'three lines on the primary:')) {
      const text = await box1.ok(command);
      token = /^lfl1\S+$/m.exec(text)?.[0] ?? token;
    }
    assert.notEqual(token, '');

    await box1.ok('install -d -o app -g app -m 750 /litefs/app');
    await box1.ok(
      'sqlite3 /litefs/app/a.db "PRAGMA journal_mode = wal; CREATE TABLE t(x); INSERT INTO t VALUES(7)"',
      'app',
    );
    for (const command of commandsAfter('README.md', 'three on each replica:')) {
      // Nobody is there to be asked.
      const asks = command.endsWith(' --token -');
      await box2.ok(asks ? `printf '%s\\n' ${token} | ${command}` : command);
    }
    await until('a user who is not root reads it on the replica', async () => {
      const { text } = await box2.on('sqlite3 /litefs/app/a.db "SELECT x FROM t"', 'app');
      return text === '7';
    });
    assert.ok(performance.now() - startedMs < USER_MS_MAX);
    assert.match(await box2.ok('litefs-lite doctor'), /^all is well$/m);
    assert.match(await box1.ok('litefs-lite doctor'), /^all is well$/m);
    assert.match(await box2.ok('litefs-lite verify'), /the same as on the primary/);
  });

  test('shows the database to that user again after a restart, and after the power went', async () => {
    const read = async () =>
      (await box2.on('sqlite3 /litefs/app/a.db "SELECT x FROM t"', 'app')).text;
    await box2.ok('systemctl restart litefs-lite');
    assert.equal(await read(), '7');
    await box2.powerOff();
    await box2.powerOn();
    assert.equal(await read(), '7');
    await box1.powerOff();
    assert.equal(await read(), '7');
    await box1.powerOn();
    await box1.ok('sqlite3 /litefs/app/a.db "INSERT INTO t VALUES(8)"', 'app');
    await until('what is written then comes', async () => (await read()) === '7\n8');
  });

  test('goes on through a cable that is pulled', async () => {
    const rows = () => box2.ok('sqlite3 /litefs/app/a.db "SELECT x FROM t"', 'app');
    box2.setLink('down');
    await box1.ok('sqlite3 /litefs/app/a.db "INSERT INTO t VALUES(9)"', 'app');
    await until('box2 tells that its primary is away', async () => {
      return /^app\/a\.db .* \? /m.test((await box2.on('litefs-lite status')).text);
    });
    assert.equal(await rows(), '7\n8');
    box2.setLink('up');
    await until('it has caught up', async () => (await rows()) === '7\n8\n9');
    assert.match(await box2.ok('litefs-lite verify'), /the same as on the primary/);
  });
});
