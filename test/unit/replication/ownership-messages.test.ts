import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeOwnership, encodeOwnership } from '../../../src/replication/ownership-messages.ts';
import { foldersAbove } from '../../../src/store/ownership.ts';

const one = (modes: number) =>
  fc.record({
    uid: fc.nat(0xfffffffe),
    gid: fc.nat(0xfffffffe),
    mode: fc.nat(modes).map((mode) => mode & modes),
    user: fc.string({ maxLength: 32 }),
    group: fc.string({ maxLength: 32 }),
  });
const part = fc.stringMatching(/^[a-z.\u00e9]{1,6}x$/);
const named = fc.array(part, { minLength: 1, maxLength: 5 }).chain((parts) => {
  const database = parts.join('/');
  const { length } = foldersAbove(database);
  const folders = fc.array(one(0o3777), { minLength: length, maxLength: length });
  return fc.record({
    database: fc.constant(database),
    ownership: fc.record({ file: one(0o777), folders }),
  });
});

test('is read as it was written', () => {
  fc.assert(
    fc.property(named, ({ database, ownership }) => {
      const read = decodeOwnership(encodeOwnership(database, ownership));
      assert.deepEqual(read, { database, ownership: structuredClone(ownership) });
    }),
  );
});

test('of another number of folders, or damaged, it is refused as PROTOCOL', () => {
  const root = { uid: 0, gid: 0, mode: 0o755, user: 'root', group: '' };
  const refused = (payload: Buffer) =>
    assert.throws(() => decodeOwnership(payload), { code: 'PROTOCOL' });
  refused(encodeOwnership('a.db', { file: root, folders: [root, root] }));
  refused(encodeOwnership('a/b.db', { file: root, folders: [root] }));
  refused(encodeOwnership('a.db', { file: { ...root, uid: 0xffffffff }, folders: [root] }));
  const good = encodeOwnership('a.db', { file: root, folders: [root] });
  for (let length = 0; length < good.length; length++) refused(good.subarray(0, length));
  refused(Buffer.concat([good, Buffer.from([0])]));
});
