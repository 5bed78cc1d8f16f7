/**
 * A transfer's process: gets its job from the daemon that started it, says how it ended, and is gone. A process of its
 * own, because SQLite's locks are POSIX locks: in the daemon they would be lost with the first descriptor of that file
 * that the engine closes.
 */
import { once } from 'node:events';
import { type ErrorCode, LiteFsError } from '../errors.ts';
import { runTransfer, type TransferJob } from './jobs.ts';

/** The command that runs it; help does not show it. */
export const TRANSFER_COMMAND = 'transfer-process';

export type TransferEnd =
  | { readonly bytes: number }
  | {
      readonly error: {
        readonly code: ErrorCode | undefined;
        readonly message: string;
        readonly hint: string | undefined;
      };
    };

/** Resolves with the exit status. Throws USAGE when no daemon is at the other end. */
export async function transferProcess(): Promise<number> {
  if (!process.connected) {
    throw new LiteFsError('USAGE', `${TRANSFER_COMMAND} is what a running node starts for itself`, {
      hint: 'Use litefs-lite export, or litefs-lite import.',
    });
  }
  // Without the daemon there is neither a mount nor anybody who waits.
  process.on('disconnect', () => process.exit(1));
  const [job] = (await once(process, 'message')) as [TransferJob];
  const end = await endOf(job);
  await new Promise((resolve) => process.send?.(end, resolve));
  process.removeAllListeners('disconnect');
  process.disconnect?.();
  return 0;
}

async function endOf(job: TransferJob): Promise<TransferEnd> {
  try {
    return { bytes: await runTransfer(job) };
  } catch (error) {
    const isOurs = error instanceof LiteFsError;
    const message = isOurs ? error.message : ((error as Error).stack ?? `${error}`);
    const code = isOurs ? error.code : undefined;
    return { error: { code, message, hint: isOurs ? error.hint : undefined } };
  }
}
