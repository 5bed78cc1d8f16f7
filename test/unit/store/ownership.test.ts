import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { mock, test } from 'node:test';
import fc from 'fast-check';
import { parseAccounts } from '../../../src/os/accounts.ts';
import {
  type DatabaseOwnership,
  foldersAbove,
  loadOwnership,
  type NamedOwnership,
  parseOwnership,
  readOwnership,
  resolveOwnership,
  saveOwnership,
  setOwnership,
} from '../../../src/store/ownership.ts';
import { TreeDoor } from '../../../src/store/tree-door.ts';
import { withFolder } from '../os/folder.ts';

const ACCOUNTS = {
  users: parseAccounts('root:x:0:0\napp:x:700:1\ndns:x:701:1\n'),
  groups: parseAccounts('root:x:0:\nweb:x:800:\n'),
};
const ROOT: NamedOwnership = { uid: 0, gid: 0, mode: 0o755, user: 'root', group: 'root' };

test('the folders above a name begin with the tree itself', () => {
  assert.deepEqual(foldersAbove('a.db'), ['']);
  assert.deepEqual(foldersAbove('a/b/c.db'), ['', 'a', 'a/b']);
});

test('a name that this machine has counts, else the number', () => {
  const told: DatabaseOwnership = {
    file: { uid: 1001, gid: 33, mode: 0o640, user: 'app', group: 'www-data' },
    folders: [ROOT, { uid: 1002, gid: 1002, mode: 0o2750, user: '', group: 'web' }],
  };
  assert.deepEqual(resolveOwnership(told, ACCOUNTS, {}), {
    file: { uid: 700, gid: 33, mode: 0o640 },
    folders: [
      { uid: 0, gid: 0, mode: 0o755 },
      { uid: 1002, gid: 800, mode: 0o2750 },
    ],
  });
});

test('what the config says stands, and a user who is not there is no other one', () => {
  const told: DatabaseOwnership = { file: { ...ROOT, mode: 0o600 }, folders: [ROOT] };
  const by = (override: Parameters<typeof resolveOwnership>[2]) =>
    resolveOwnership(told, ACCOUNTS, override);
  assert.deepEqual(by({ user: 'dns', group: '55', mode: 0o640 }), {
    file: { uid: 701, gid: 55, mode: 0o640 },
    folders: [{ uid: 701, gid: 55, mode: 0o750 }],
  });
  assert.deepEqual(by({ mode: 0o664 }).folders, [{ uid: 0, gid: 0, mode: 0o775 }]);
  const gone = resolveOwnership(
    { ...told, file: { ...told.file, uid: 701, user: 'dns' } },
    ACCOUNTS,
    { user: 'gone' },
  );
  assert.equal(gone.file.uid, 0);
});

test('it is read from the tree, through no link, and kept in a file', () =>
  withFolder((folder) => {
    fs.mkdirSync(path.join(folder, 'app'));
    fs.chmodSync(path.join(folder, 'app'), 0o3710);
    fs.writeFileSync(path.join(folder, 'app/a.db'), '');
    fs.chownSync(path.join(folder, 'app/a.db'), 701, 900);
    fs.chmodSync(path.join(folder, 'app/a.db'), 0o4640);
    fs.symlinkSync('app', path.join(folder, 'link'));
    const tree = new TreeDoor(folder);
    try {
      const read = readOwnership(tree, 'app/a.db', ACCOUNTS);
      assert.deepEqual(read?.file, { uid: 701, gid: 900, mode: 0o640, user: 'dns', group: '' });
      assert.equal(read?.folders[1].mode, 0o3710);
      assert.equal(readOwnership(tree, 'link/a.db', ACCOUNTS), undefined);
      assert.equal(readOwnership(tree, 'app/none.db', ACCOUNTS), undefined);
      const file = path.join(folder, 'kept');
      assert.equal(loadOwnership(file, 'app/a.db'), undefined);
      saveOwnership(file, read as DatabaseOwnership);
      assert.deepEqual(loadOwnership(file, 'app/a.db'), read);
      assert.equal(loadOwnership(file, 'other/deeper/a.db'), undefined);
      fs.truncateSync(file, 20);
      assert.equal(loadOwnership(file, 'app/a.db'), undefined);
    } finally {
      tree.close();
    }
  }));

test('what a peer says is without meaningless bits, or refused', () => {
  const told = { file: { ...ROOT, mode: 0o104755 }, folders: [{ ...ROOT, mode: 0o7777 }] };
  const parsed = parseOwnership('a.db', told);
  assert.deepEqual([parsed?.file.mode, parsed?.folders[0].mode], [0o755, 0o3777]);
  const wrong: unknown[] = [
    undefined,
    null,
    {},
    { ...told, folders: [] },
    { ...told, folders: [ROOT, ROOT] },
    { ...told, file: { ...ROOT, uid: 0xffffffff } },
    { ...told, file: { ...ROOT, gid: -1 } },
    { ...told, file: { ...ROOT, uid: '0' } },
    { ...told, file: { ...ROOT, user: 'x'.repeat(257) } },
    { ...told, folders: [null] },
  ];
  for (const value of wrong) assert.equal(parseOwnership('a.db', value), undefined);
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      assert.equal(parseOwnership('a.db', value), undefined);
    }),
  );
});

test('on its way a file is open to nobody who may not use it before and after', () =>
  withFolder((folder) => {
    const file = path.join(folder, 'a');
    const owners = [
      [0, 0],
      [701, 0],
      [701, 800],
    ];
    const state = fc.record({ owner: fc.constantFrom(...owners), mode: fc.nat(0o777) });
    fc.assert(
      fc.property(state, state, (from, to) => {
        fs.writeFileSync(file, '');
        fs.chownSync(file, from.owner[0], from.owner[1]);
        fs.chmodSync(file, from.mode);
        const fd = fs.openSync(file, 'r');
        const seen: [number, number, number][] = [];
        const look = () => {
          const { uid, gid, mode } = fs.fstatSync(fd);
          seen.push([uid, gid, mode & 0o777]);
        };
        const spies = (['fchmodSync', 'fchownSync'] as const).map((name) => {
          const real = fs[name] as (...args: unknown[]) => void;
          return mock.method(fs, name, (...args: unknown[]) => {
            real(...args);
            look();
          });
        });
        try {
          look();
          setOwnership(fd, { uid: to.owner[0], gid: to.owner[1], mode: to.mode });
          look();
        } finally {
          for (const spy of spies) spy.mock.restore();
          fs.closeSync(fd);
        }
        const [first, last] = [seen[0], seen[seen.length - 1]];
        assert.deepEqual(last, [...to.owner, to.mode]);
        for (const at of seen) {
          for (const who of WHO) {
            const extra = rights(at, who) & ~(rights(first, who) | rights(last, who));
            assert.equal(extra, 0, `${who} at ${at} between ${first} and ${last}`);
          }
        }
      }),
    );
  }));

const WHO: [number, number][] = [
  [701, 1],
  [5, 0],
  [5, 800],
  [5, 5],
];

/** What a user of one group may do, as rwx. */
function rights([uid, gid, mode]: [number, number, number], who: [number, number]): number {
  if (who[0] === uid) return (mode >> 6) & 7;
  return who[1] === gid ? (mode >> 3) & 7 : mode & 7;
}
