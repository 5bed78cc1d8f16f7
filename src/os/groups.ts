/** The groups of this machine, by /etc/group: `name:password:gid:members`. */
import fs from 'node:fs';

/** The number of a group; undefined when this machine has none of that name, or does not say. */
export function groupId(name: string, file = '/etc/group'): number | undefined {
  let text: string;
  try {
    text = fs.readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
  const line = text.split('\n').find((each) => each.startsWith(`${name}:`));
  const [, , gid] = line?.split(':') ?? [];
  return gid !== undefined && /^\d+$/.test(gid) ? Number(gid) : undefined;
}
