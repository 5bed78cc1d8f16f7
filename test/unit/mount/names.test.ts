/** The names that mean something: companions by their endings, and the sign to go on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fileRole, parseResumeName, resumeName } from '../../../src/mount/names.ts';

test('a companion belongs to the database that its name begins with', () => {
  fc.assert(
    fc.property(fc.string(), fc.constantFrom('wal', 'shm', 'journal'), (database, companion) => {
      assert.deepEqual(fileRole(`${database}-${companion}`), { database, companion });
    }),
  );
  for (const name of ['app.db', 'wal', 'app.db-pos', 'app.db-wal2', 'app.db-WAL']) {
    assert.deepEqual(fileRole(name), { database: name, companion: undefined });
  }
});

test('the sign to go on comes back as it was given', () => {
  fc.assert(
    fc.property(fc.bigInt(0n, (1n << 64n) - 1n), fc.nat(999), (token, errno) => {
      assert.deepEqual(parseResumeName(resumeName(token, errno)), { token, errno });
    }),
  );
});

test('what is not quite such a sign is none', () => {
  const good = resumeName(0x2an, 0);
  assert.equal(good, 'user.litefs-lite.resume.2a-0');
  const bad = [
    '',
    'user.litefs-lite.resume.',
    `x${good}`,
    `${good}x`,
    `${good}\n`,
    good.toUpperCase(),
    'user.litefs-lite.resume.-0',
    'user.litefs-lite.resume.2a',
    'user.litefs-lite.resume.2a--5',
    'user.litefs-lite.resume.2a-1000',
    `user.litefs-lite.resume.1${'0'.repeat(16)}-0`,
  ];
  for (const name of bad) assert.equal(parseResumeName(name), undefined, JSON.stringify(name));
});
