/**
 * What the systemd unit allows is enough for all that the daemon does: here a system call that it does not allow ends the
 * daemon, where users only have it refused. A capability that is missed shows as a command that fails.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Box } from '../../scripts/boxes/box.ts';
import { Lab } from '../../scripts/boxes/lab.ts';
import { CACHE, putPackage } from '../../scripts/boxes/package.ts';
import { until } from '../harness/cluster.ts';

const EXPOSURE_MAX = 5;
const DROP_IN = '[Service]\nSystemCallErrorNumber=\n';

describe('the unit', () => {
  let lab: Lab;
  let box: Box;

  before(async () => {
    lab = await Lab.open(['box1'], CACHE);
    [box] = lab.boxes;
    putPackage(box);
    const dir = path.join(box.root, 'etc/systemd/system/litefs-lite.service.d');
    fs.mkdirSync(dir, { recursive: true });
    fs.writeFileSync(path.join(dir, 'kill.conf'), DROP_IN);
    await box.ok('cd; apt install ./dist/*.deb; useradd app');
    await box.ok('install -d -o app -g app -m 750 /litefs/app');
  });
  after(() => lab?.close());

  const count = () => box.ok('sqlite3 /litefs/app/a.db "SELECT count(*) FROM t"', 'app');

  test(`exposes no more than ${EXPOSURE_MAX.toFixed(1)}`, async () => {
    const text = await box.ok('systemd-analyze security litefs-lite --no-pager | tail -1');
    const [, exposure] = /service: ([\d.]+) /.exec(text) ?? [];
    assert(Number(exposure) <= EXPOSURE_MAX, text);
  });

  test('lets users have databases, and commands do what they do', async () => {
    await box.ok(
      'sqlite3 /litefs/app/a.db "PRAGMA journal_mode = wal; CREATE TABLE t(x); INSERT INTO t VALUES(1)"',
      'app',
    );
    await box.ok('sqlite3 /litefs/app/b.db "CREATE TABLE t(x); INSERT INTO t VALUES(1)"', 'app');
    await box.ok('chmod 2770 /litefs/app; chown :app /litefs/app/b.db; chmod 600 /litefs/app/b.db');
    for (const command of [
      'litefs-lite snapshot',
      'litefs-lite export app/a.db /root/a.db',
      'sqlite3 /litefs/app/a.db "INSERT INTO t VALUES(2)"',
      'litefs-lite import app/c.db /root/a.db',
      'litefs-lite restore app/a.db --output /root/b.db',
      'litefs-lite restore app/a.db --latest --in-place',
      'litefs-lite verify',
      'litefs-lite run -with-halt-lock-on /litefs/app/a.db -- true',
    ]) {
      await box.ok(command);
    }
    assert.equal(await count(), '1');
    assert.match(await box.ok('litefs-lite doctor'), /^all is well$/m);
  });

  test('lets it start beneath a dead mount, once another user has let go of a file', async () => {
    const pid = await box.ok('systemctl show -P MainPID litefs-lite');
    const held = box.on('sh -c "echo held >/tmp/held; sleep 3" 9<>/litefs/app/a.db', 'app');
    await until('it is held', () => fs.existsSync(path.join(box.root, 'tmp/held')));
    await box.ok(`kill -9 ${pid}`);
    await held;
    await until(
      'it is mounted again',
      async () => (await box.on('litefs-lite status')).status === 0,
    );
    assert.equal(await count(), '1');
    assert.equal(await box.ok('grep -c " /litefs fuse" /proc/mounts'), '1');
  });

  test('lets it guard the bare mount point', async () => {
    await box.ok('systemctl stop litefs-lite');
    const { status, text } = await box.on('touch /litefs/x');
    assert.notEqual(status, 0);
    assert.match(text, /Operation not permitted/);
    await box.ok('systemctl start litefs-lite');
    assert.equal(await count(), '1');
  });

  test('shows it by its name, and its log as text with priorities', async () => {
    const pid = await box.ok('systemctl show -P MainPID litefs-lite');
    assert.equal(await box.ok(`cat /proc/${pid}/comm`), 'litefs-lite');
    const all = await box.ok('journalctl --no-pager -o cat -u litefs-lite');
    assert.match(all, /^mounted on \/litefs as primary$/m);
    const warnings = await box.ok('journalctl --no-pager -o cat -u litefs-lite -p warning');
    assert.match(warnings, /still mounted by a daemon that died/);
    assert.doesNotMatch(warnings, /mounted on \/litefs as primary/);
  });

  test('has refused nothing in all that', async () => {
    const journal = await box.ok('journalctl --no-pager -u litefs-lite');
    assert.doesNotMatch(journal, /status=31|SYS|core-dump|EPERM|EACCES/);
  });
});
