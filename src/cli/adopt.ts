/** `litefs-lite adopt` and `release`: an existing database into the mount, under its old path, and back. */

import type { NodeReport } from '../http/info.ts';
import { adoptDatabase } from './adopt/adopt.ts';
import { releaseDatabase } from './adopt/release.ts';
import { getJson } from './client.ts';
import { type NodeFlags, nodeAt } from './node-url.ts';
import { printLine } from './print.ts';

interface Flags extends NodeFlags {
  readonly delete?: boolean;
}

/** Moves the database, and says where it and its original are. */
export async function adopt(
  file: string,
  flags: Flags & { readonly as?: string },
): Promise<number> {
  const node = await getJson<NodeReport>(nodeAt(flags), '/info');
  const adopted = await adoptDatabase({ file, node, as: flags.as, keep: !flags.delete });
  const { mounted, position, original, resumed } = adopted;
  const lines = [
    `${adopted.file}: now in the mount as ${mounted}, at ${position}`,
    ...(resumed ? ['  an earlier run had been cut off after that'] : []),
    original === undefined
      ? '  the original was removed'
      : `  the original is ${original}: remove it when you like, or by release`,
    '',
    'Next: start its application, which goes on with the same path. Back: litefs-lite release',
  ];
  for (const line of lines) printLine(line);
  return 0;
}

/** Puts a copy in the place of the link. */
export async function release(file: string, flags: Flags): Promise<number> {
  const node = await getJson<NodeReport>(nodeAt(flags), '/info');
  const removes = flags.delete ?? false;
  const released = await releaseDatabase({ file, node, delete: removes });
  const { mounted, position } = released;
  const lines = [
    `${released.file}: a file of its own again, as of ${position}`,
    removes
      ? `  ${mounted} was removed, on the replicas too`
      : `  ${mounted} is still there, and no longer what the application uses: remove it when you like`,
  ];
  for (const line of lines) printLine(line);
  return 0;
}
