import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkReplicaOwner } from '../../../src/daemon/replica-owner.ts';
import { parseAccounts } from '../../../src/os/accounts.ts';

const ACCOUNTS = { users: parseAccounts('pdns:x:7:7\n'), groups: parseAccounts('web:x:8:\n') };

test('users and groups that the config names must be there', () => {
  for (const owner of [{}, { user: 'pdns' }, { group: 'web' }, { user: '99', group: '98' }]) {
    checkReplicaOwner(owner, ACCOUNTS);
  }
  const refused = (owner: object, text: RegExp) =>
    assert.throws(() => checkReplicaOwner(owner, ACCOUNTS), { code: 'CONFIG', message: text });
  refused({ user: 'web' }, /no user web on this machine/);
  // chown(2) takes it for "as it is".
  refused({ user: '4294967295' }, /no user 4294967295/);
  refused({ user: 'pdns', group: 'pdns' }, /no group pdns on this machine/);
});
