/** What is noted of snapshots that were read back: the strongest check, the last time, and only of the file that it was. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Archive } from '../../../src/snapshots/archive.ts';
import type { ArchiveFile } from '../../../src/snapshots/archive-file.ts';
import { listVerified, noteVerified } from '../../../src/snapshots/verified.ts';
import { withFolder } from '../os/folder.ts';

/** Files that need not be read. */
function withSnapshots(body: (archive: Archive, files: ArchiveFile[]) => void): Promise<void> {
  return withFolder((folder) => {
    const archive = new Archive(folder);
    for (const maxTxid of [3, 5]) {
      const file = archive.pathOf({ level: 9, minTxid: 1, maxTxid });
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(file, Buffer.alloc(200));
    }
    body(archive, archive.list());
  });
}

const noted = (archive: Archive) => listVerified(archive).map(({ verified }) => verified);

test('the strongest check and the last time are kept, snapshot by snapshot', () =>
  withSnapshots((archive, [older, newer]) => {
    assert.deepEqual(noted(archive), [undefined, undefined]);
    noteVerified(archive, [older], 'full', 0);
    noteVerified(archive, [older, newer], 'quick', 60_000);
    assert.deepEqual(noted(archive), [
      { check: 'full', at: '1970-01-01T00:01:00.000Z' },
      { check: 'quick', at: '1970-01-01T00:01:00.000Z' },
    ]);
  }));

test('a note is not of another file that has taken the name', () =>
  withSnapshots((archive, [older, newer]) => {
    noteVerified(archive, [older, newer], 'full', 0);
    fs.appendFileSync(archive.pathOf(older), 'more');
    assert.deepEqual(noted(archive)[0], undefined);
    fs.rmSync(archive.pathOf(newer));
    const [other] = archive.list();
    noteVerified(archive, [other], 'quick', 0);
    assert.equal(noted(archive)[0]?.check, 'quick');
    const notes = JSON.parse(fs.readFileSync(path.join(archive.root, 'verified.json'), 'utf8'));
    assert.deepEqual(Object.keys(notes), [path.basename(archive.pathOf(older))]);
  }));

test('notes that make no sense are none', () =>
  withSnapshots((archive, [older]) => {
    fs.writeFileSync(path.join(archive.root, 'verified.json'), '{"half');
    assert.deepEqual(noted(archive), [undefined, undefined]);
    noteVerified(archive, [older], 'full', 0);
    assert.equal(noted(archive)[0]?.check, 'full');
  }));
