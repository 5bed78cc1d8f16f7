/** What a replica answers to CHECKSUMS_ASK. */
import { encodeChecksums } from './messages.ts';
import type { ReplicationStore } from './store.ts';
import type { FrameTransport } from './transport.ts';

const PART_BYTES = 512 << 10;

/** Sends the checksums of all pages of a database, in parts; an empty one when it is not here. What fails ends the connection. */
export function sendChecksums(
  database: string,
  { store, transport }: { readonly store: ReplicationStore; readonly transport: FrameTransport },
): void {
  send(database, store, transport).catch((error) => transport.destroy(error));
}

async function send(
  database: string,
  store: ReplicationStore,
  transport: FrameTransport,
): Promise<void> {
  const ours = await store.pageChecksums(database);
  const checksums = ours?.checksums ?? new Uint8Array();
  const pageSize = ours?.pageSize ?? 0;
  for (let at = 0; ; at += PART_BYTES) {
    const bytes = checksums.subarray(at, at + PART_BYTES);
    const last = at + PART_BYTES >= checksums.length;
    await transport.send('CHECKSUMS', encodeChecksums(database, { last, pageSize, bytes }));
    if (last) break;
  }
}
