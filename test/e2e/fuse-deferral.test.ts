import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { type FuseMount, MODES, withMount } from './fuse-mount.ts';

const EROFS = 30;

/** Starts a script, waits until it is held back, and tells what came of it once resumed. */
async function held(mount: FuseMount, script: string, errno = 0) {
  const done = mount.sh(script).then(
    () => 'done',
    (error) => String(error.stderr),
  );
  const { token, ...operation } = await mount.nextDeferred();
  return {
    operation,
    goOn: () => {
      mount.resume(token, errno);
      return done;
    },
  };
}

for (const passthrough of MODES) {
  test(`an unlink in the root is held back, and done when resumed (${passthrough})`, () =>
    withMount({ passthrough, defer: ['unlink'] }, async (mount) => {
      fs.writeFileSync(`${mount.dir}/held`, 'x');
      const { operation, goOn } = await held(mount, 'rm held');
      assert.deepEqual(operation, { kind: 'unlink', path: 'held' });
      assert.ok(fs.existsSync(`${mount.backing}/held`));
      assert.equal(await goOn(), 'done');
      assert.equal(fs.existsSync(`${mount.backing}/held`), false);
      assert.equal(fs.existsSync(`${mount.dir}/held`), false);
      await mount.until(() => mount.events.find((event) => event.kind === 'removed'));
    }));

  test(`a held operation can be refused (${passthrough})`, () =>
    withMount({ passthrough, defer: ['unlink', 'rename', 'truncate'] }, async (mount) => {
      fs.writeFileSync(`${mount.backing}/held`, 'x');
      for (const script of ['rm held', 'mv held other', 'truncate -s 0 held']) {
        const { goOn } = await held(mount, script, EROFS);
        assert.match(await goOn(), /Read-only file system/, script);
      }
      assert.equal(fs.readFileSync(`${mount.dir}/held`, 'latin1'), 'x');
      assert.deepEqual(fs.readdirSync(mount.backing), ['held']);
    }));

  test(`rename, truncate, O_TRUNC, write and fsync are held back (${passthrough})`, () =>
    withMount({ passthrough, defer: ['rename', 'truncate', 'write', 'fsync'] }, async (mount) => {
      const file = `${mount.backing}/held-journal`;
      fs.writeFileSync(file, '0123456789');

      const write = await held(mount, 'printf AB | dd of=held-journal conv=notrunc status=none');
      const data = new Uint8Array(Buffer.from('AB'));
      assert.deepEqual(write.operation, { kind: 'write', path: 'held-journal', offset: 0, data });
      // Other requests come and go in the same buffer meanwhile.
      fs.writeFileSync(`${mount.dir}/unrelated-journal`, 'zz');
      assert.equal(fs.readFileSync(file, 'latin1'), '0123456789');
      assert.equal(await write.goOn(), 'done');
      assert.equal(fs.readFileSync(file, 'latin1'), 'AB23456789');

      const truncate = await held(mount, 'truncate -s 4 held-journal');
      assert.deepEqual(truncate.operation, { kind: 'truncate', path: 'held-journal', size: 4 });
      assert.equal(await truncate.goOn(), 'done');
      assert.equal(fs.readFileSync(`${mount.dir}/held-journal`, 'latin1'), 'AB23');

      const opening = await held(mount, ': > held-journal');
      assert.deepEqual(opening.operation, { kind: 'truncate', path: 'held-journal', size: 0 });
      assert.equal(fs.statSync(file).size, 4);
      assert.equal(await opening.goOn(), 'done');
      assert.equal(fs.statSync(file).size, 0);

      const sync = await held(mount, 'sync held-journal');
      assert.deepEqual(sync.operation, { kind: 'fsync', path: 'held-journal' });
      assert.equal(await sync.goOn(), 'done');

      fs.mkdirSync(`${mount.dir}/d`);
      const rename = await held(mount, 'mv held-journal d/after');
      assert.deepEqual(rename.operation, {
        kind: 'rename',
        path: 'held-journal',
        newPath: 'd/after',
      });
      assert.equal(await rename.goOn(), 'done');
      assert.ok(fs.existsSync(`${mount.backing}/d/after`));
    }));
}

test('several operations wait at a time, and go on in any order', () =>
  withMount({ defer: ['unlink', 'fsync'] }, async (mount) => {
    const names = ['a', 'b', 'c'];
    for (const name of names) {
      fs.mkdirSync(`${mount.dir}/${name}`);
      fs.writeFileSync(`${mount.dir}/${name}/held`, '');
    }
    const done = names.map((name) => mount.sh(`rm ${name}/held`));
    const waiting = [];
    for (const _ of names) waiting.push(await mount.nextDeferred());
    for (const { token, path } of waiting.reverse()) {
      mount.resume(token);
      assert.equal(fs.existsSync(`${mount.backing}/${path}`), false);
    }
    await Promise.all(done);
  }));

test('an operation held back is done where its file has moved to', () =>
  withMount({ defer: ['fsync', 'truncate'] }, async (mount) => {
    fs.mkdirSync(`${mount.dir}/d`);
    fs.writeFileSync(`${mount.backing}/d/held`, 'xyz');
    const { goOn } = await held(mount, 'truncate -s 1 d/held');
    fs.renameSync(`${mount.dir}/d`, `${mount.dir}/e`);
    assert.equal(await goOn(), 'done');
    assert.equal(fs.readFileSync(`${mount.backing}/e/held`, 'latin1'), 'x');
  }));

test('a sign for nothing that waits is no harm', () =>
  withMount({}, async (mount) => {
    mount.resume(77n);
    fs.writeFileSync(`${mount.dir}/f`, '');
  }));

test('whoever waits for a held operation is let go when the mount is ended by force', async () => {
  let removal: Promise<void> | undefined;
  await assert.rejects(
    withMount({ defer: ['unlink'] }, async (mount) => {
      fs.writeFileSync(`${mount.dir}/held`, '');
      removal = assert.rejects(mount.sh('rm held'), /connection abort/);
      await mount.nextDeferred();
    }),
    /still in use/,
  );
  await removal;
});
