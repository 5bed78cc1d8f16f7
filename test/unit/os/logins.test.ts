/** Users and their groups, by the texts of /etc/passwd and /etc/group. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findLogin } from '../../../src/os/logins.ts';

const FILES = {
  passwd: `root:x:0:0:root:/root:/bin/bash
app:x:1000:1001:An app:/srv/app:/usr/sbin/nologin
app:x:1002:1002::/other:/bin/sh
1000:x:1003:1003:a number for a name:/n:/bin/sh
bare:x:1004:1004
nobody-at-all:x:4294967295:1:::
#out:x:5:5:::
`,
  group: `root:x:0:
app:x:1001:
disk:x:6:backup,app
video:x:44:app
again:x:44:app
apple:x:45:apple,myapp
broken:x::app
`,
};
const find = (user: string, group?: string) => findLogin(user, group, FILES);

test('a user is in its own group and in those that list it', () => {
  assert.deepEqual(find('app'), {
    uid: 1000,
    gid: 1001,
    groups: [1001, 6, 44],
    name: 'app',
    home: '/srv/app',
    shell: '/usr/sbin/nologin',
  });
  assert.deepEqual(find('bare'), {
    uid: 1004,
    gid: 1004,
    groups: [1004],
    name: 'bare',
    home: '',
    shell: '',
  });
});

test('a group that is said takes the place of its own', () => {
  for (const group of ['disk', '6']) {
    const login = find('app', group);
    assert(typeof login === 'object');
    assert.deepEqual([login.gid, login.groups], [6, [6, 44]]);
  }
  const login = find('app', '77');
  assert(typeof login === 'object');
  assert.deepEqual(login.groups, [77, 6, 44]);
});

test('a name comes before a number; a number of no user needs a group', () => {
  const named = find('1000');
  assert(typeof named === 'object');
  assert.equal(named.uid, 1003);
  const numbered = find('1002');
  assert(typeof numbered === 'object');
  assert.equal(numbered.home, '/other');
  assert.equal(find('2000'), 'group of the user');
  assert.deepEqual(find('2000', 'video'), {
    uid: 2000,
    gid: 44,
    groups: [44],
    name: undefined,
    home: '',
    shell: '',
  });
});

test('who is not there is no other user, and never root', () => {
  for (const user of ['nobody-else', '#out', 'nobody-at-all', '4294967295', '', '-1']) {
    assert.equal(find(user, '1'), 'user', user);
  }
  for (const group of ['no-such', 'broken', '4294967295', '']) {
    assert.equal(find('app', group), 'group', group);
  }
});
