/** What `systemctl status` shows of a node that serves, in one line: its role, and how it gets on with its primary. */
import type { Role } from '../lease/node-identity.ts';

/** A replica and the node that it follows. */
export interface Following {
  /** Of that node; its address before it was met. */
  readonly name: string;
  /** Why it is not connected; undefined when it is. */
  readonly away: string | undefined;
  readonly inSync: boolean;
  /** ms; undefined before the first sync. */
  readonly lagMs: number | undefined;
}

export interface ServedNode {
  readonly role: Role;
  readonly mountDir: string;
  /** How many nodes follow it. */
  readonly followers: number;
  /** undefined when it follows none. */
  readonly following: Following | undefined;
}

/** What is not said to be behind: heartbeats come once a second, and the line must not change with each. */
const LAG_MS_MIN = 3000;

export function statusLine({ role, mountDir, followers, following }: ServedNode): string {
  const parts = [`${role}, mounted on ${mountDir}`];
  if (following) parts.push(howItFollows(following));
  if (followers > 0) parts.push(`followed by ${followers} ${followers === 1 ? 'node' : 'nodes'}`);
  return parts.join('; ');
}

function howItFollows({ name, away, inSync, lagMs }: Following): string {
  if (away !== undefined) return away;
  if (!inSync || lagMs === undefined) return `connected to ${name}, not in sync yet`;
  if (lagMs < LAG_MS_MIN) return `in sync with ${name}`;
  return `${Math.round(lagMs / 1000)} s behind ${name}`;
}
