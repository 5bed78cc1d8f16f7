/** The table of page checksums: in memory against a plain model, on disk against crashes. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decodeSums, encodeSums, PAGES_PER_BLOCK, PageSums } from '../../../src/store/page-sums.ts';
import { loadPageSums, replacePageSums, savePageSums } from '../../../src/store/page-sums-file.ts';
import { withFolder } from '../os/folder.ts';

const FLAG = 1n << 63n;
const TABLE_OFFSET = 4096;

type Step =
  | { readonly kind: 'resize'; readonly pages: number }
  | { readonly kind: 'set'; readonly pick: number; readonly sum: bigint }
  | { readonly kind: 'save' };

const steps = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('resize' as const), pages: fc.nat(2000) }),
    fc.record({
      kind: fc.constant('set' as const),
      pick: fc.nat(),
      sum: fc.bigInt(0n, (1n << 64n) - 1n),
    }),
    fc.record({ kind: fc.constant('save' as const) }),
  ),
  { maxLength: 30 },
);

it('says so with a code when there is not the memory for a table: a size is easily announced', () => {
  for (const make of [() => new PageSums(2 ** 50), () => new PageSums().resize(2 ** 50)]) {
    assert.throws(make, { name: 'LiteFsError', code: 'DATABASE_CORRUPT' });
  }
});

describe('in memory', () => {
  it('the checksum is the XOR of what the pages have, whatever came before', () => {
    fc.assert(
      fc.property(steps, (list) => {
        const sums = new PageSums();
        let model: bigint[] = [];
        for (const step of list) {
          model = apply(sums, model, step);
          assert.equal(sums.checksum, checksumOf(model));
          assert.deepEqual([...sums.view()], model);
        }
      }),
    );
  });

  it('no pages have the checksum 0, and pages past the end too', () => {
    const sums = new PageSums();
    assert.equal(sums.checksum, 0n);
    assert.equal(sums.get(1), 0n);
    sums.resize(1);
    assert.equal(sums.checksum, FLAG);
    sums.set(1, 5n);
    assert.equal(sums.checksum, FLAG | 5n);
    sums.clear();
    assert.equal(sums.get(1), 0n);
    assert.equal(sums.checksum, 0n);
  });

  it('a page that is not there cannot be set', () => {
    const sums = new PageSums();
    sums.resize(3);
    for (const pgno of [0, 4]) assert.throws(() => sums.set(pgno, 1n), { name: 'AssertionError' });
  });

  it('travels as it is; part of an entry at the end does not count', () => {
    fc.assert(
      fc.property(fc.bigUint64Array(), fc.nat(7), (sums, more) => {
        const bytes = Buffer.concat([encodeSums(sums), Buffer.alloc(more)]);
        assert.deepEqual(decodeSums(bytes), sums);
      }),
    );
  });
});

describe('on disk', () => {
  const position = { txid: 7, checksum: FLAG | 99n };

  it('what was saved last is loaded, however it grew and shrank between saves', () =>
    withFolder((folder) => {
      let run = 0;
      fc.assert(
        fc.property(steps, (list) => {
          const file = path.join(folder, `${run++}.sums`);
          const sums = new PageSums();
          let model: bigint[] = [];
          for (const step of list) {
            model = apply(sums, model, step);
            if (step.kind === 'save') savePageSums(file, sums, position, 4096);
          }
          savePageSums(file, sums, position, 4096);
          const loaded = loadPageSums(file);
          assert.deepEqual(loaded?.position, position);
          assert.equal(loaded?.pageSize, 4096);
          assert.deepEqual([...(loaded?.sums.view() ?? [])], model);
          assert.equal(loaded?.sums.checksum, checksumOf(model));
        }),
        { numRuns: 50 },
      );
    }));

  it('a save writes only the blocks that changed', () =>
    withTable(3 * PAGES_PER_BLOCK, (file, sums) => {
      const mark = Buffer.from('untouched');
      const fd = fs.openSync(file, 'r+');
      fs.writeSync(fd, mark, 0, mark.length, TABLE_OFFSET);
      fs.closeSync(fd);
      sums.set(PAGES_PER_BLOCK + 1, 1n);
      assert.equal(sums.dirtyBlocks, 1);
      savePageSums(file, sums, position, 512);
      const bytes = fs.readFileSync(file);
      assert(bytes.subarray(TABLE_OFFSET).indexOf(mark) === 0);
      assert.equal(bytes.readBigUInt64LE(TABLE_OFFSET + PAGES_PER_BLOCK * 8), 1n);
    }));

  it('a file that is absent, torn or of somebody else is no table', () =>
    withTable(600, (file) => {
      const whole = fs.readFileSync(file);
      assert.equal(loadPageSums(`${file}.absent`), undefined);
      const torn = [whole.length - 1, TABLE_OFFSET, 63, 0].map((size) => whole.subarray(0, size));
      const foreign = Buffer.from(whole);
      foreign.write('SOMETHIN', 0, 'latin1');
      for (const bytes of [...torn, foreign]) {
        fs.writeFileSync(file, bytes);
        assert.equal(loadPageSums(file), undefined, `${bytes.length} bytes`);
      }
    }));

  it('what the header counts is there, whatever reaches the disk: it is cut off last, and put there first', (t) =>
    withTable(3 * PAGES_PER_BLOCK, (file, sums) => {
      const calls = (save: () => void) => {
        const made: string[] = [];
        for (const call of ['writeSync', 'ftruncateSync', 'fdatasyncSync'] as const) {
          const real = fs[call].bind(fs) as (...args: unknown[]) => unknown;
          t.mock.method(fs, call, (...args: unknown[]) => {
            made.push(call.slice(0, -4));
            return real(...args);
          });
        }
        save();
        t.mock.restoreAll();
        return made.join(' ');
      };
      sums.resize(PAGES_PER_BLOCK);
      sums.set(1, 9n);
      const cut = calls(() => savePageSums(file, sums, position, 512));
      assert.equal(cut, 'write fdatasync write fdatasync ftruncate');
      // The last page is the lock page, which nobody sets.
      sums.resize(2 * PAGES_PER_BLOCK + 1);
      sums.set(2 * PAGES_PER_BLOCK, 9n);
      const grown = calls(() => savePageSums(file, sums, position, 512));
      assert.equal(grown, 'write ftruncate fdatasync write fdatasync');
      assert.deepEqual(loadPageSums(file)?.sums.view(), sums.view());
    }));

  it('a table that takes the place of another is all there, or not at all', (t) =>
    withTable(600, (file, sums) => {
      const before = fs.readFileSync(file);
      const real = fs.fdatasyncSync.bind(fs);
      t.mock.method(fs, 'fdatasyncSync', (fd: number) => {
        assert(fs.readFileSync(file).equals(before));
        real(fd);
      });
      sums.set(1, 9n);
      replacePageSums(file, sums, { txid: 3, checksum: sums.checksum }, 512);
      t.mock.restoreAll();
      assert.equal(loadPageSums(file)?.position.txid, 3);
      assert.deepEqual(loadPageSums(file)?.sums.view(), sums.view());
      t.mock.method(fs, 'renameSync', () => {
        throw Object.assign(new Error('ENOSPC: refused'), { code: 'ENOSPC', errno: -28 });
      });
      assert.throws(() => replacePageSums(file, sums, position, 512), /ENOSPC/);
      t.mock.restoreAll();
      assert.equal(loadPageSums(file)?.position.txid, 3);
      assert.deepEqual(fs.readdirSync(path.dirname(file)), [path.basename(file)]);
    }));

  it('a crash between blocks and header shows in the XOR', () =>
    withTable(600, (file, sums) => {
      const header = fs.readFileSync(file).subarray(0, TABLE_OFFSET);
      sums.set(600, 0x1234n);
      savePageSums(file, sums, { txid: 8, checksum: sums.checksum }, 512);
      const fd = fs.openSync(file, 'r+');
      fs.writeSync(fd, header, 0, 64, 0);
      fs.closeSync(fd);
      const loaded = loadPageSums(file);
      assert.equal(loaded?.position.txid, 7);
      assert.notEqual(loaded?.sums.checksum, loaded?.position.checksum);
    }));

  /** A saved table in which each page has its number as its checksum. */
  function withTable(pages: number, body: (file: string, sums: PageSums) => void): Promise<void> {
    return withFolder((folder) => {
      const file = path.join(folder, 'a.sums');
      const sums = new PageSums();
      sums.resize(pages);
      for (let pgno = 1; pgno <= pages; pgno++) sums.set(pgno, BigInt(pgno));
      savePageSums(file, sums, { txid: 7, checksum: sums.checksum }, 512);
      body(file, sums);
    });
  }
});

/** One step on the table and on an array of its checksums. */
function apply(sums: PageSums, model: bigint[], step: Step): bigint[] {
  if (step.kind === 'resize') {
    sums.resize(step.pages);
    // SQLite writes the pages it adds: each is set, and with it its block has changed.
    for (let pgno = model.length + 1; pgno <= step.pages; pgno++) sums.set(pgno, BigInt(pgno));
    return Array.from({ length: step.pages }, (_, i) => model[i] ?? BigInt(i + 1));
  }
  if (step.kind === 'set' && model.length > 0) {
    const index = step.pick % model.length;
    sums.set(index + 1, step.sum);
    return model.with(index, step.sum);
  }
  return model;
}

function checksumOf(model: readonly bigint[]): bigint {
  return model.length === 0 ? 0n : model.reduce((xor, sum) => xor ^ sum, 0n) | FLAG;
}

it('a new file that the disk has no room for is written anew, all of it', (t) =>
  withFolder((folder) => {
    const file = path.join(folder, 'sums');
    const sums = PageSums.from(new BigUint64Array(3 * PAGES_PER_BLOCK).fill(7n));
    const refused = t.mock.method(fs, 'writeSync', () => {
      throw Object.assign(new Error('ENOSPC: refused'), { code: 'ENOSPC', errno: -28 });
    });
    const save = (txid: number) => savePageSums(file, sums, { txid, checksum: sums.checksum }, 512);
    assert.throws(() => save(1), /ENOSPC/);
    refused.mock.restore();
    sums.set(1, 9n);
    save(2);
    assert.deepEqual(loadPageSums(file)?.sums.view(), sums.view());
  }));
