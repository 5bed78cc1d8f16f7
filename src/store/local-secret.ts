/**
 * The local secret of a node: what commands on its own machine show to its HTTP API. A file in data.dir that nobody but
 * the daemon's user may read:
 *
 *     43 chars   base64url of 32 random bytes
 *     1 char     newline
 *
 * It is made at the first start and kept by later ones. What is found there and is not exactly that was not made by us, or
 * others may have read it: the daemon makes another.
 */
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { syncDirectory } from './log-files.ts';

export type LocalSecret =
  | { readonly kind: 'kept'; readonly secret: string; readonly uid: number }
  | { readonly kind: 'absent' }
  | { readonly kind: 'unfit'; readonly reason: string };

const SECRET_BYTES = 32;
const TEXT_BYTES = 44;
const FORMAT = /^[A-Za-z0-9_-]{43}\n$/;
const OTHERS = 0o077;
const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;

/** What the file says. Throws the system's error when that cannot be told: EACCES, EIO. */
export function readLocalSecret(file: string): LocalSecret {
  let fd: number;
  try {
    // A fifo would be waited for.
    fd = fs.openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return { kind: 'absent' };
    if (code === 'ELOOP') return unfit('it is a symbolic link');
    if (code === 'ENXIO') return unfit('it is no file');
    throw error;
  }
  try {
    const stat = fs.fstatSync(fd);
    if (!stat.isFile()) return unfit('it is no file');
    if ((stat.mode & OTHERS) !== 0) return unfit('other users may use it');
    const bytes = Buffer.alloc(TEXT_BYTES + 1);
    const text = bytes.toString('latin1', 0, fs.readSync(fd, bytes, 0, bytes.length, 0));
    if (!FORMAT.test(text)) return unfit('it holds something else');
    return { kind: 'kept', secret: text.trimEnd(), uid: stat.uid };
  } finally {
    fs.closeSync(fd);
  }
}

/**
 * The secret that the file has, else a new one. `replaced` is told why what was there is not used.
 * @throws the system's errors
 */
export function keepLocalSecret(file: string, replaced: (reason: string) => void): string {
  const found = readLocalSecret(file);
  if (found.kind === 'kept') {
    if (found.uid === process.geteuid?.()) return found.secret;
    replaced('it belongs to another user');
  } else if (found.kind === 'unfit') {
    replaced(found.reason);
  }
  const secret = randomBytes(SECRET_BYTES).toString('base64url');
  const part = `${file}.part`;
  fs.rmSync(part, { force: true });
  // wx: what has taken the name meanwhile is not followed. A link at `file` is replaced by the rename, not followed either.
  fs.writeFileSync(part, `${secret}\n`, { mode: 0o600, flag: 'wx', flush: true });
  fs.renameSync(part, file);
  syncDirectory(path.dirname(file));
  return secret;
}

function unfit(reason: string): LocalSecret {
  return { kind: 'unfit', reason };
}
