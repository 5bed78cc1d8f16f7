/** Whether the users that the config names are there. */
import { LiteFsError } from '../errors.ts';
import type { Accounts } from '../os/accounts.ts';
import { accountId, type OwnershipOverride } from '../store/ownership.ts';

/** Throws CONFIG: databases would be root's without a word. */
export function checkReplicaOwner({ user, group }: OwnershipOverride, accounts: Accounts): void {
  const missing =
    user !== undefined && accountId(accounts.users, user) === undefined
      ? `no user ${user}`
      : group !== undefined && accountId(accounts.groups, group) === undefined
        ? `no group ${group}`
        : undefined;
  if (missing === undefined) return;
  throw new LiteFsError('CONFIG', `fuse.replica-owner: there is ${missing} on this machine`, {
    hint: 'Make it, or write another name or a number.',
  });
}
