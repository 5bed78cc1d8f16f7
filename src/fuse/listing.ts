/**
 * The content of a directory as it was at one moment: offsets into it stay good however long it
 * takes to be read, and however large it is.
 *
 * struct linux_dirent64: 0 u64 ino, 8 i64 off, 16 u16 reclen, 18 u8 type, 19 name (NUL-terminated)
 */
import { getdents, lseek } from '../os/libc.ts';

const DT_REG = 8;

export interface ListingEntry {
  /** One char a byte. */
  readonly name: string;
  readonly inoLow: number;
  readonly inoHigh: number;
  readonly type: number;
  readonly isVirtual: boolean;
}

export type Listing = readonly ListingEntry[];

const records = Buffer.alloc(65_536);

/**
 * Reads a directory from its start, '.' and '..' included.
 * @returns the entries, or a negative errno
 */
export function readListing(fd: number): ListingEntry[] | number {
  const entries: ListingEntry[] = [];
  const rewound = lseek(fd, 0, 0);
  if (rewound < 0) return rewound;
  for (;;) {
    const length = getdents(fd, records);
    if (length < 0) return length;
    if (length === 0) return entries;
    for (let at = 0; at < length; at += records.readUInt16LE(at + 16)) {
      entries.push({
        name: records.toString('latin1', at + 19, records.indexOf(0, at + 19)),
        inoLow: records.readUInt32LE(at),
        inoHigh: records.readUInt32LE(at + 4),
        type: records[at + 18],
        isVirtual: false,
      });
    }
  }
}

/** Adds virtual files; one hides what the backing tree has under its name. */
export function withVirtual(entries: ListingEntry[], names: readonly string[]): Listing {
  if (names.length === 0) return entries;
  const hidden = new Set(names);
  const kept = entries.filter((entry) => !hidden.has(entry.name));
  for (const name of hidden) {
    // Its number is not known before it is looked up; any but 0 will do.
    kept.push({ name, inoLow: 0xffffffff, inoHigh: 0, type: DT_REG, isVirtual: true });
  }
  return kept;
}
