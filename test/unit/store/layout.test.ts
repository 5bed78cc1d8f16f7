/** Where things lie, and how a database's path becomes one flat name. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { createLayout, decodeName, encodeName, layoutOf } from '../../../src/store/layout.ts';
import { withFolder } from '../os/folder.ts';

/** A path as the kernel gives it: any bytes, as latin1. */
const bytesName = fc
  .uint8Array({ minLength: 1, maxLength: 60 })
  .map((bytes) => Buffer.from(bytes).toString('latin1'));

test('a name of any bytes comes back, and is safe as a file name', () => {
  fc.assert(
    fc.property(bytesName, (name) => {
      const encoded = encodeName(name);
      assert(encoded !== undefined);
      assert.match(encoded, /^[A-Za-z0-9_%-][A-Za-z0-9._%-]*$/);
      assert.equal(decodeName(encoded), name);
    }),
  );
});

test('two databases never share a name', () => {
  fc.assert(
    fc.property(bytesName, bytesName, (a, b) => {
      assert.equal(encodeName(a) === encodeName(b), a === b);
    }),
  );
});

test('names that mean something to the file system do not survive', () => {
  assert.equal(encodeName('app.db'), 'app.db');
  assert.equal(encodeName('sub/app.db'), 'sub%2fapp.db');
  assert.equal(encodeName('..'), '%2e.');
  assert.equal(encodeName('.hidden'), '%2ehidden');
  assert.equal(encodeName('100%'), '100%25');
});

test('a path that is too long for one name has none', () => {
  assert.equal(encodeName('a'.repeat(240))?.length, 240);
  assert.equal(encodeName('a'.repeat(241)), undefined);
  assert.equal(encodeName('/'.repeat(81)), undefined);
});

test('the folders are made, private, and those of one run are emptied', () =>
  withFolder((folder) => {
    const layout = layoutOf(path.join(folder, 'data'));
    createLayout(layout);
    assert.equal(fs.statSync(layout.root).mode & 0o777, 0o700);
    fs.writeFileSync(path.join(layout.spool, 'half a transfer'), '');
    fs.writeFileSync(path.join(layout.cuts, 'half a cut'), '');
    fs.writeFileSync(path.join(layout.tree, 'app.db'), 'kept');
    fs.chmodSync(layout.root, 0o755);
    createLayout(layout);
    assert.equal(fs.statSync(layout.root).mode & 0o777, 0o700, 'users come by the mount alone');
    assert.deepEqual(fs.readdirSync(layout.spool), []);
    assert.deepEqual(fs.readdirSync(layout.cuts), []);
    assert.deepEqual(fs.readdirSync(layout.tree), ['app.db']);
  }));
