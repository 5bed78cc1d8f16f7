/** A log in a folder of its own, and a chain of transactions to fill it with. */
import path from 'node:path';
import { TransactionLog } from '../../../src/store/log.ts';
import { withFolder } from '../os/folder.ts';
import { LtxChain, type Transaction, type TransactionFields } from './ltx-chain.ts';

export interface LogStand {
  readonly folder: string;
  readonly dir: string;
  readonly log: TransactionLog;
  readonly chain: LtxChain;
  /** What the log it began with has warned of. */
  readonly warnings: readonly string[];
  /** Appends so many transactions to the log it began with. Their clock is also that of the append. */
  append(count: number, fields?: TransactionFields): Transaction[];
  /** The log as the next start finds it; without a close when the process has died. */
  reopen(options?: { died: boolean }): { log: TransactionLog; warnings: string[] };
}

export function withLog(body: (stand: LogStand) => void): Promise<void> {
  return withFolder((folder) => {
    const dir = path.join(folder, 'log');
    const open: TransactionLog[] = [];
    const start = () => {
      const warnings: string[] = [];
      const log = TransactionLog.open(dir, (message) => warnings.push(message));
      open.push(log);
      return { log, warnings };
    };
    const { log, warnings } = start();
    const chain = new LtxChain();
    const append = (count: number, fields: TransactionFields = {}) =>
      Array.from({ length: count }, () => {
        const transaction = chain.next(fields);
        const { bytes, header, post } = transaction;
        log.append(bytes, header, post, header.timestampMs);
        return transaction;
      });
    const reopen = ({ died } = { died: false }) => {
      if (!died) log.close();
      return start();
    };
    try {
      body({ folder, dir, log, chain, warnings, append, reopen });
    } finally {
      for (const each of open) each.close();
    }
  });
}
