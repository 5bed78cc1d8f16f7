/** An entry of the log as it is told to other threads. */
import type { StoredEntry } from '../store/log-files.ts';
import type { WireEntry } from './protocol.ts';

/** With its bytes when they are at hand, else with the place in the log where they are. */
export function wireEntry(
  database: string,
  entry: StoredEntry,
  bytes: Uint8Array | undefined,
): WireEntry {
  const { minTxid, maxTxid, pre, post, timestampMs, pageSize, commit, path, offset, length } =
    entry;
  const source = bytes ? { bytes } : { path, offset, length };
  return { database, minTxid, maxTxid, pre, post, timestampMs, pageSize, commit, source };
}
