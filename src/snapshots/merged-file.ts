/** A file of an archive that is made of others, or of entries of the log. */
import fs from 'node:fs';
import { canCompact, compact } from '../ltx/compact.ts';
import { fileSink } from '../ltx/sources.ts';
import { type Archive, onDisk, tryOnDisk } from './archive.ts';
import type { ArchiveFile } from './archive-file.ts';
import type { OpenEntry } from './open-entries.ts';

/** Neighbours that can be one file. */
export function groups(entries: readonly OpenEntry[]): OpenEntry[][] {
  const result: OpenEntry[][] = [];
  for (const entry of entries) {
    const group = result.at(-1);
    const before = group?.at(-1);
    if (group && before && canCompact(before.header, entry.header)) group.push(entry);
    else result.push([entry]);
  }
  return result;
}

/** Throws DISK, LTX_CORRUPT. */
export function writeMerged(
  archive: Archive,
  level: number,
  inputs: readonly OpenEntry[],
  compress: boolean,
): ArchiveFile {
  const temporary = archive.temporary(level);
  return onDisk(temporary, () => {
    const fd = fs.openSync(temporary, 'wx', 0o600);
    try {
      const sink = fileSink(fd);
      const sources = inputs.map(({ source }) => source);
      const postAside = inputs[inputs.length - 1].postChecksum();
      const merging = compact(sources, sink, { compress, postAside });
      let step = merging.next();
      while (!step.done) step = merging.next();
      sink.flush();
      const { minTxid, maxTxid, timestampMs } = step.value;
      return archive.commit(temporary, { level, minTxid, maxTxid, timestampMs });
    } catch (error) {
      tryOnDisk(() => fs.rmSync(temporary, { force: true }));
      throw error;
    } finally {
      fs.closeSync(fd);
    }
  });
}
