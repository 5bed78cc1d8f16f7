/** A transaction in the making: in memory up to 256 KiB, then in a file; the bytes are the same. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { SMALL_ENTRY_BYTES_MAX, SpillSink } from '../../../src/engine/core/spill-sink.ts';
import { withFolder } from '../os/folder.ts';

const chunks = fc.array(
  fc.record({ size: fc.oneof(fc.nat(100), fc.nat(150_000)), fill: fc.nat(255) }),
  { maxLength: 12 },
);

test('what is written in pieces of any size is there in the end', () =>
  withFolder((folder) => {
    let run = 0;
    fc.assert(
      fc.property(chunks, (list) => {
        const sink = new SpillSink(path.join(folder, `${run++}`));
        const pieces = list.map(({ size, fill }) => Buffer.alloc(size, fill));
        for (const piece of pieces) sink.write(piece);
        const spilled = sink.finish();
        const bytes = 'bytes' in spilled ? spilled.bytes : fs.readFileSync(spilled.path);
        assert(Buffer.concat(pieces).equals(bytes));
        if ('bytes' in spilled) assert(bytes.length <= SMALL_ENTRY_BYTES_MAX);
      }),
      { numRuns: 60 },
    );
  }));

test('a file is made only past the limit, and is taken away when it is given up', () =>
  withFolder((folder) => {
    const file = path.join(folder, 'spill');
    const sink = new SpillSink(file);
    sink.write(Buffer.alloc(SMALL_ENTRY_BYTES_MAX, 1));
    assert.deepEqual(fs.readdirSync(folder), []);
    sink.write(Buffer.alloc(1, 2));
    assert.deepEqual(fs.readdirSync(folder), ['spill']);
    sink.abort();
    assert.deepEqual(fs.readdirSync(folder), []);

    const small = new SpillSink(file);
    small.write(Buffer.alloc(10));
    small.abort();
    assert.deepEqual(fs.readdirSync(folder), []);
  }));
