/**
 * The node's Unix socket: a name in the file system at which processes of this machine reach it, and which tells who they
 * are. What a dead node left there is replaced; what belongs to a living one, or is no socket, is not touched.
 */
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { errorText, LiteFsError } from '../errors.ts';
import { makeOpenFolder } from '../os/open-folder.ts';

export interface LocalAddress {
  /** At most 107 bytes. */
  readonly file: string;
  /** Whose members may connect, beside root. */
  readonly gid: number | undefined;
}

const MODE = 0o660;
const MODE_ALONE = 0o600;

/** Has a server listen there. Throws LISTEN. */
export async function listenLocally(server: net.Server, address: LocalAddress): Promise<void> {
  const { file, gid } = address;
  try {
    // The group has to come through.
    makeOpenFolder(path.dirname(file));
    await listen(server, file).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') throw error;
      await removeStale(file);
      await listen(server, file);
    });
    // Until here it is as open as the umask has it, but each request is asked who sends it.
    if (gid !== undefined) fs.chownSync(file, -1, gid);
    fs.chmodSync(file, gid === undefined ? MODE_ALONE : MODE);
  } catch (error) {
    server.close();
    if (error instanceof LiteFsError) throw error;
    throw new LiteFsError('LISTEN', `cannot listen at ${file}: ${errorText(error)}`, {
      hint: 'Set http.socket to a path in a folder that can be written to.',
      cause: error,
    });
  }
}

function listen(server: net.Server, file: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(file, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

async function removeStale(file: string): Promise<void> {
  const hint = 'Stop it, or set http.socket to another path.';
  if (!fs.lstatSync(file).isSocket()) {
    throw new LiteFsError('LISTEN', `${file} is something else than a socket`, {
      hint: 'Move it away, or set http.socket to another path.',
    });
  }
  const life = await lifeAt(file);
  if (life === undefined) return fs.rmSync(file, { force: true });
  throw new LiteFsError('LISTEN', `a running node has the socket ${file}${life}`, { hint });
}

/** undefined: what listened there has ended. Else what is known of it, for a message. */
function lifeAt(file: string): Promise<string | undefined> {
  const socket = net.connect(file);
  return new Promise((resolve) => {
    socket.on('connect', () => resolve(''));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      const isDead = error.code === 'ECONNREFUSED' || error.code === 'ENOENT';
      resolve(isDead ? undefined : `, or so it seems (${errorText(error)})`);
    });
  }).finally(() => socket.destroy()) as Promise<string | undefined>;
}
