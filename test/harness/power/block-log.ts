/**
 * The log of what block devices were asked for: a file, written by block-server.ts.
 *
 * A record: u8 kind (1 write, 2 flush, 3 note), u8 disk, u16 zero, u32 length, u64 offset in bytes, all little-endian,
 * then the data. It begins with what was on each disk, as writes, and a flush. A record's number is how many there were
 * before it; a cut at N is a power cut after N records.
 */
import fs from 'node:fs';

export type RecordKind = 'write' | 'flush' | 'note';

export interface BlockRecord {
  readonly kind: RecordKind;
  /** Of a note: 0. */
  readonly disk: number;
  /** In bytes from the start of the disk. */
  readonly offset: number;
  readonly length: number;
  /** Where its data is in the log. */
  readonly position: number;
}

const HEADER_BYTES = 16;
const KINDS: readonly (RecordKind | undefined)[] = [undefined, 'write', 'flush', 'note'];

export function encodeRecord(
  kind: RecordKind,
  disk: number,
  offset: number,
  data: Uint8Array,
): Buffer {
  const record = Buffer.alloc(HEADER_BYTES + data.length);
  record[0] = KINDS.indexOf(kind);
  record[1] = disk;
  record.writeUInt32LE(data.length, 4);
  record.writeBigUInt64LE(BigInt(offset), 8);
  record.set(data, HEADER_BYTES);
  return record;
}

/** Reads a log but for the data; an unfinished record at its end is left out. Throws when it is no log. */
export function readBlockLog(file: string): BlockRecord[] {
  const records: BlockRecord[] = [];
  const fd = fs.openSync(file, 'r');
  try {
    const { size } = fs.fstatSync(fd);
    const header = Buffer.alloc(HEADER_BYTES);
    for (let at = 0; at + HEADER_BYTES <= size; ) {
      fs.readSync(fd, header, 0, HEADER_BYTES, at);
      const kind = KINDS[header[0]];
      if (!kind) throw new Error(`byte ${at} of ${file} begins no record`);
      const length = header.readUInt32LE(4);
      const position = at + HEADER_BYTES;
      if (position + length > size) break;
      const offset = Number(header.readBigUInt64LE(8));
      records.push({ kind, disk: header[1], offset, length, position });
      at = position + length;
    }
    return records;
  } finally {
    fs.closeSync(fd);
  }
}

/** The notes of a log, each with its number. */
export function readNotes(
  file: string,
  records: readonly BlockRecord[],
): { readonly at: number; readonly text: string }[] {
  const fd = fs.openSync(file, 'r');
  try {
    return [...records.entries()]
      .filter(([, { kind }]) => kind === 'note')
      .map(([at, { position, length }]) => {
        const text = Buffer.alloc(length);
        fs.readSync(fd, text, 0, length, position);
        return { at, text: text.toString() };
      });
  } finally {
    fs.closeSync(fd);
  }
}
