/** The marker of a clean stop: taken once, and never believed when in doubt. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { lookOf, sameLook, saveMarker, takeMarker } from '../../../src/store/marker.ts';
import { withFolder } from '../os/folder.ts';

function lookAt(file: string) {
  return lookOf(fs.lstatSync(file, { bigint: true, throwIfNoEntry: false }));
}

const position = { txid: 2 ** 50 + 1, checksum: (1n << 63n) | 0xabcn };

test('a marker comes back as it was saved, once', () =>
  withFolder((folder) => {
    const file = path.join(folder, 'app.db');
    fs.writeFileSync(file, 'content');
    const database = lookAt(file);
    assert(database);
    const marker = path.join(folder, 'app.db.json');
    for (const wal of [null, database]) {
      saveMarker(marker, { position, database, wal });
      assert.deepEqual(takeMarker(marker), { position, database, wal });
      assert.equal(takeMarker(marker), undefined, 'the next start has none');
    }
    assert.deepEqual(fs.readdirSync(folder), ['app.db'], 'nothing is left over');
  }));

test('a marker that cannot be read is none, and goes', () =>
  withFolder((folder) => {
    const marker = path.join(folder, 'app.db.json');
    for (const text of ['', '{"position":', '{}', '{"position":{"txid":1,"checksum":"xyz"}}']) {
      fs.writeFileSync(marker, text);
      assert.equal(takeMarker(marker), undefined, text);
      assert.equal(fs.existsSync(marker), false, text);
    }
  }));

test('whatever changes a file changes its look', () =>
  withFolder((folder) => {
    const file = path.join(folder, 'app.db');
    const look = () => lookAt(file);
    assert.equal(look(), null, 'of no file');
    fs.writeFileSync(file, 'one');
    const first = look();
    assert(sameLook(first, look()));
    assert(!sameLook(first, null) && !sameLook(null, first) && sameLook(null, null));

    const later = new Date(fs.statSync(file).mtimeMs + 1);
    fs.utimesSync(file, later, later);
    const touched = look();
    assert(!sameLook(first, touched), 'mtime');

    fs.appendFileSync(file, '+');
    fs.utimesSync(file, later, later);
    const grown = look();
    assert(!sameLook(touched, grown), 'size');

    fs.copyFileSync(file, `${file}.copy`);
    fs.utimesSync(`${file}.copy`, later, later);
    fs.renameSync(`${file}.copy`, file);
    assert(!sameLook(grown, look()), 'inode');
    fs.rmSync(file);
    fs.symlinkSync('elsewhere', file);
    assert.equal(look(), null, 'a link is no database');
  }));
