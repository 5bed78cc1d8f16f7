/** Bytes are written through a mapping; a file that is too short is an error, and not the end of the process. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { writeMapped } from '../../../src/os/mapping.ts';
import { withFolder } from './folder.ts';

test('bytes that the file has are written over, and nothing else', () =>
  withFolder((folder) => {
    const file = path.join(folder, 'f');
    fs.writeFileSync(file, Buffer.alloc(32768, 'a'));
    const fd = fs.openSync(file, 'r+');
    writeMapped(fd, 48, Buffer.from('second'));
    writeMapped(fd, 0, Buffer.from('first'));
    fs.closeSync(fd);
    const content = fs.readFileSync(file, 'latin1');
    assert.equal(content.slice(0, 56), `first${'a'.repeat(43)}second${'a'.repeat(2)}`);
    assert.equal(content.length, 32768);
    assert.equal(content.slice(56).replaceAll('a', ''), '');
  }));

test('a file that was cut is an error', () =>
  withFolder((folder) => {
    const file = path.join(folder, 'f');
    fs.writeFileSync(file, '');
    const fd = fs.openSync(file, 'r+');
    assert.throws(() => writeMapped(fd, 0, Buffer.from('x')), {
      code: 'EFAULT',
    });
    fs.closeSync(fd);
  }));
