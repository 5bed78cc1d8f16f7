import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { parseAccounts, SystemAccounts } from '../../../src/os/accounts.ts';
import { withFolder } from './folder.ts';

test('names and numbers of a passwd file, the first line of a name or number counting', () => {
  const table = parseAccounts(
    [
      'root:x:0:0:root:/root:/bin/bash',
      'toor:x:0:0::/root:/bin/sh',
      'app:x:1000:1000::/home/app:/bin/sh',
      'app:x:1001:1001::/:/bin/sh',
      '# comment:x:5:5',
      '+nis::7:7',
      'short:x',
      'empty:x::1',
      'minus:x:-1:1',
      'nobody-at-all:x:4294967295:1',
      'largest:x:4294967294:1',
      '',
    ].join('\n'),
  );
  assert.equal(table.name(0), 'root');
  assert.equal(table.id('toor'), 0);
  assert.equal(table.id('app'), 1000);
  assert.equal(table.name(1001), 'app');
  for (const name of ['# comment', 'short', 'empty', 'minus', 'nobody-at-all', '']) {
    assert.equal(table.id(name), undefined, name);
  }
  assert.equal(table.id('largest'), 4294967294);
});

test('the files are read again when they are others, and name nobody when they cannot be read', () =>
  withFolder((folder) => {
    const [users, groups] = ['passwd', 'group'].map((name) => path.join(folder, name));
    fs.writeFileSync(users, 'app:x:1000:1000::/:/bin/sh\n');
    const accounts = new SystemAccounts({ users, groups });
    assert.equal(accounts.users.id('app'), 1000);
    assert.equal(accounts.groups.id('app'), undefined);
    // useradd replaces the file.
    fs.writeFileSync(`${users}.new`, 'app:x:1000:1000::/:/bin/sh\ndns:x:1001:1001::/:/bin/sh\n');
    fs.renameSync(`${users}.new`, users);
    fs.writeFileSync(groups, 'www:x:33:app\n');
    assert.equal(accounts.users.name(1001), 'dns');
    assert.equal(accounts.groups.id('www'), 33);
    fs.rmSync(users);
    assert.equal(accounts.users.id('app'), undefined);
  }));

test('of this machine root is 0', () => {
  const accounts = new SystemAccounts();
  assert.equal(accounts.users.id('root'), 0);
  assert.equal(accounts.groups.name(0), 'root');
});
