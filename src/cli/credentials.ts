/**
 * What a command shows to a node that asks for a secret: $LITEFS_SECRET, else the local secret of the node that the config
 * is of, which it finds by data.dir. That is shown only to the user whose file it is: while the node is down, any user of
 * the machine can listen at its port.
 */
import fs from 'node:fs';
import type net from 'node:net';
import path from 'node:path';
import { type Config, isInside } from '../config/config.ts';
import { errorText } from '../errors.ts';
import { openBelowMounts } from '../os/mounts.ts';
import { endsOf, ownerOfListener } from '../os/tcp-table.ts';
import { layoutOf } from '../store/layout.ts';
import { type LocalSecret, readLocalSecret } from '../store/local-secret.ts';

export interface Credentials {
  /** What to show over a connection; `socket` is connected. undefined: nothing. */
  tokenFor(socket: net.Socket): string | undefined;
  /** What to do when the node is not content with that. */
  hint(): string;
}

const OR_SECRET = "or set LITEFS_SECRET to that node's replication.secret.";
/** Who is not root cannot read the secret of a node here, or its config. */
const TO_OTHERS = `Run it as root on the machine of that node (sudo litefs-lite ...), ${OR_SECRET}`;

/** The secret of $LITEFS_SECRET, for whichever node it is meant. */
export function givenSecret(token: string): Credentials {
  return {
    tokenFor: () => token,
    hint: () =>
      "LITEFS_SECRET is none of its secrets. Set it to that node's replication.secret, or unset it and run as root there.",
  };
}

/** For a node of which nothing is known but its URL. */
export function noSecret(): Credentials {
  const hint = `Of a node on this machine name the config, without --url: --config FILE; ${OR_SECRET}`;
  return nothing(isRoot() ? hint : TO_OTHERS);
}

/** For the node of this machine that has these directories. */
export function localSecretOf({ data, fuse }: Pick<Config, 'data' | 'fuse'>): Credentials {
  const { localSecret: file } = layoutOf(data.dir);
  let found: LocalSecret;
  try {
    found = isInside(data.dir, fuse.dir) ? readHidden(file, fuse.dir) : readLocalSecret(file);
  } catch (error) {
    return nothing(isRoot() ? `${file} cannot be read: ${errorText(error)}` : TO_OTHERS);
  }
  if (found.kind === 'kept') return shownTo(found.uid, found.secret, file);
  if (!isRoot()) return nothing(TO_OTHERS);
  return nothing(
    found.kind === 'unfit'
      ? `${file} is not used: ${found.reason}. The node makes another when it is restarted.`
      : `There is no ${file}. Name the config of the node: --config FILE; ${OR_SECRET}`,
  );
}

/** A file in a data.dir that lies below the mount point, which hides it. */
function readHidden(file: string, mountDir: string): LocalSecret {
  const above = path.dirname(mountDir);
  const fd = openBelowMounts(above);
  try {
    return readLocalSecret(`/proc/self/fd/${fd}/${path.relative(above, file)}`);
  } finally {
    fs.closeSync(fd);
  }
}

/** To a listener of that user alone. */
function shownTo(uid: number, token: string, file: string): Credentials {
  let isShown = true;
  return {
    tokenFor(socket) {
      const ends = endsOf(socket);
      isShown = ends !== undefined && ownerOfListener(ends) === uid;
      return isShown ? token : undefined;
    },
    hint: () =>
      isShown
        ? `${file} is not its secret: it runs with another data.dir. Name its config: --config FILE; ${OR_SECRET}`
        : `What listens there is not known to run as the user that ${file} belongs to, so that it was not shown. Is it the node?`,
  };
}

function nothing(hint: string): Credentials {
  return { tokenFor: () => undefined, hint: () => hint };
}

function isRoot(): boolean {
  return process.geteuid?.() === 0;
}
