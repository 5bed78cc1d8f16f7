/** The thread of one transfer: runs the job, says how it ended, and is gone. */
import { parentPort, workerData } from 'node:worker_threads';
import { type ErrorCode, LiteFsError } from '../errors.ts';
import { runTransfer, type TransferJob } from './jobs.ts';

export type TransferEnd =
  | { readonly bytes: number }
  | {
      readonly error: {
        readonly code: ErrorCode | undefined;
        readonly message: string;
        readonly hint: string | undefined;
      };
    };

runTransfer(workerData as TransferJob).then(
  (bytes) => tell({ bytes }),
  (error) => {
    const isOurs = error instanceof LiteFsError;
    const message = isOurs ? error.message : ((error as Error).stack ?? `${error}`);
    const code = isOurs ? error.code : undefined;
    tell({ error: { code, message, hint: isOurs ? error.hint : undefined } });
  },
);

function tell(end: TransferEnd): void {
  parentPort?.postMessage(end);
}
