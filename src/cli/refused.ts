/** What a command says when it may not ask a node, or has nothing to show to it: what is wrong, and what to type. */
import { LiteFsError } from '../errors.ts';

const OR_SECRET = "or set LITEFS_SECRET to that node's replication.secret.";
/** Who is not root cannot connect to the socket of a node here, or read its config. */
const TO_OTHERS =
  'Run it as root on the machine of that node (sudo litefs-lite ...), or as a member of its group litefs-lite, ' +
  OR_SECRET;

/**
 * Before anything was asked. `socket`: where a node of this machine would be, undefined when it is none that is known;
 * `why`: the system's code for what was in the way there.
 */
export function refusedHere(
  url: string,
  socket: string | undefined,
  why: string | undefined,
): LiteFsError {
  return new LiteFsError('PEER_REJECTED', `${url}: this needs the secret of the node`, {
    hint: process.geteuid?.() === 0 ? hintForRoot(socket, why) : TO_OTHERS,
  });
}

function hintForRoot(socket: string | undefined, why: string | undefined): string {
  if (socket === undefined) {
    return `Of a node on this machine name the config, without --url: --config FILE; ${OR_SECRET}`;
  }
  return (
    `No node answers at its socket ${socket} (${why}). Is that the node which listens there, and does it run this ` +
    `release (systemctl restart litefs-lite)? Another one: --config FILE; ${OR_SECRET}`
  );
}

const STATUS =
  'Run it as root on the machine of that node (sudo litefs-lite ...), or as a member of its group litefs-lite, ' +
  'or set LITEFS_STATUS_TOKEN to its http.status-token (or LITEFS_SECRET to its replication.secret).';

/** What to do when the node has answered with this code. `isGuarded`: what was asked for is more than its status. */
export function refusedThere(code: 'UNAUTHORIZED' | 'FORBIDDEN', isGuarded: boolean): string {
  if (!isGuarded) return STATUS;
  if (code === 'FORBIDDEN') return TO_OTHERS;
  return "LITEFS_SECRET is not its secret. Set it to that node's replication.secret, or unset it and run as root there.";
}
