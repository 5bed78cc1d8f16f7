/** The files of one database below `snapshots.dir`. Whatever happens, a file there is whole, or has a temporary name. */
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { errorText, isOutsideFault, LiteFsError } from '../errors.ts';
import { decodeHeader, HEADER_BYTES } from '../ltx/header.ts';
import type { Position } from '../ltx/position.ts';
import { readPostChecksum } from '../ltx/tail.ts';
import { encodeName } from '../store/layout.ts';
import {
  type ArchiveFile,
  archiveFileTxids,
  archivePath,
  byAge,
  INCREMENT_LEVELS,
  levelPath,
  SNAPSHOT_LEVEL,
} from './archive-file.ts';

const TEMPORARY = '.tmp';

export interface OpenedArchive {
  /** Oldest first. */
  readonly files: readonly ArchiveFile[];
  /** The state after the newest of them; undefined when there is none. */
  readonly position: Position | undefined;
  /** What is wrong with newer files; each begins with the path. */
  readonly damaged: readonly string[];
}

export class Archive {
  /** The folder that holds `ltx`. */
  readonly root: string;
  /** Headers that were read: files never change. By path, as long as the size is the same. */
  readonly #known = new Map<string, ArchiveFile>();

  constructor(root: string) {
    this.root = root;
  }

  exists(): boolean {
    return fs.existsSync(path.join(this.root, 'ltx'));
  }

  pathOf(file: Pick<ArchiveFile, 'level' | 'minTxid' | 'maxTxid'>): string {
    return path.join(this.root, archivePath(file));
  }

  /**
   * All files, oldest first. `trusting`: those that were seen before are as they were then; to ask for each takes long on a
   * network file system. Throws DISK.
   */
  list({ trusting = false } = {}): ArchiveFile[] {
    return onDisk(this.root, () => {
      const files: ArchiveFile[] = [];
      for (const level of [...INCREMENT_LEVELS, SNAPSHOT_LEVEL]) {
        for (const name of namesIn(path.join(this.root, levelPath(level)))) {
          const txids = archiveFileTxids(name);
          const file = txids && this.#describe({ level, ...txids }, trusting);
          if (file) files.push(file);
        }
      }
      return files.sort(byAge);
    });
  }

  /** As far as the newest file goes whose ends can be read: those after it are damaged. Throws DISK. */
  open(): OpenedArchive {
    const files = this.list();
    const damaged: string[] = [];
    for (let newest = files.at(-1); newest; newest = files.at(-1)) {
      try {
        return { files, position: this.#positionAfter(newest), damaged };
      } catch (error) {
        if (!isDamage(error)) throw error;
        damaged.push(`${this.pathOf(newest)}: ${errorText(error)}`);
        files.pop();
      }
    }
    return { files, position: undefined, damaged };
  }

  /** Whether all of these are there. Throws DISK. */
  has(files: readonly ArchiveFile[]): boolean {
    return onDisk(this.root, () =>
      files.every((file) => fs.statSync(this.pathOf(file), { throwIfNoEntry: false })),
    );
  }

  /** A name for a file that is being written, in the folder of its level, which is made. Throws DISK. */
  temporary(level: number): string {
    const folder = path.join(this.root, levelPath(level));
    onDisk(folder, () => fs.mkdirSync(folder, { recursive: true, mode: 0o700 }));
    return path.join(folder, `${randomUUID()}${TEMPORARY}`);
  }

  /** Gives a file that was written under a temporary name its own, on disk for good. Throws DISK. */
  commit(temporary: string, file: Omit<ArchiveFile, 'bytes'>): ArchiveFile {
    const target = this.pathOf(file);
    return onDisk(target, () => {
      const fd = fs.openSync(temporary, 'r+');
      try {
        // Litestream takes the time of a file for that of its last transaction.
        fs.futimesSync(fd, file.timestampMs / 1000, file.timestampMs / 1000);
        fs.fsyncSync(fd);
      } finally {
        fs.closeSync(fd);
      }
      fs.renameSync(temporary, target);
      this.#known.delete(target);
      fsyncFolder(path.dirname(target));
      return { ...file, bytes: fs.statSync(target).size };
    });
  }

  remove(file: ArchiveFile): void {
    const target = this.pathOf(file);
    this.#known.delete(target);
    onDisk(target, () => fs.rmSync(target, { force: true }));
  }

  /** Removes what a crash has left under temporary names: nobody else writes here. Throws DISK. */
  sweep(): void {
    for (const level of [...INCREMENT_LEVELS, SNAPSHOT_LEVEL]) {
      const folder = path.join(this.root, levelPath(level));
      onDisk(folder, () => {
        for (const name of namesIn(folder)) {
          if (name.endsWith(TEMPORARY)) fs.rmSync(path.join(folder, name));
        }
      });
    }
  }

  /** Throws LTX_CORRUPT, and what the file system says. */
  #positionAfter(file: ArchiveFile): Position {
    const fd = fs.openSync(this.pathOf(file), 'r');
    try {
      const readAt = (into: Buffer, offset: number) => {
        fs.readSync(fd, into, 0, into.length, offset);
      };
      const head = Buffer.alloc(HEADER_BYTES);
      readAt(head, 0);
      const checksum = readPostChecksum(decodeHeader(head), file.bytes, readAt);
      return { txid: file.maxTxid, checksum };
    } finally {
      fs.closeSync(fd);
    }
  }

  #describe(
    txids: Pick<ArchiveFile, 'level' | 'minTxid' | 'maxTxid'>,
    trusting: boolean,
  ): ArchiveFile | undefined {
    const file = this.pathOf(txids);
    const known = this.#known.get(file);
    if (known && trusting) return known;
    const stat = fs.statSync(file, { throwIfNoEntry: false });
    if (!stat) return undefined;
    if (known?.bytes === stat.size) return known;
    const headerMs = headerTimeMs(file);
    const isSure = headerMs !== undefined && Math.abs(headerMs - stat.mtimeMs) < 1;
    const found: ArchiveFile = {
      ...txids,
      timestampMs: headerMs ?? stat.mtimeMs,
      bytes: stat.size,
      ...(isSure ? {} : { isTimeDoubtful: true }),
    };
    this.#known.set(file, found);
    return found;
  }
}

/** The archive of a database below `dir`. Throws USAGE when the name is too long for a file's. */
export function archiveOf(dir: string, database: string): Archive {
  const name = encodeName(database);
  if (name === undefined) throw new LiteFsError('USAGE', `the name ${database} is too long`);
  return new Archive(path.join(dir, name));
}

/** Folders below `dir` that are archives, sorted: those of databases, and what people have made of them. Throws DISK. */
export function archiveFolders(dir: string): string[] {
  return onDisk(dir, () =>
    namesIn(dir)
      .filter((name) => fs.existsSync(path.join(dir, name, 'ltx')))
      .sort(),
  );
}

/** Runs `use`; what the file system refuses becomes a DISK error that names `file`. */
export function onDisk<T>(file: string, use: () => T): T {
  try {
    return use();
  } catch (error) {
    if (error instanceof LiteFsError || !isOutsideFault(error)) throw error;
    throw new LiteFsError('DISK', `${file}: ${errorText(error)}`, {
      hint: 'Is the disk of snapshots.dir mounted, writable, and not full?',
      cause: error,
    });
  }
}

/** Cleans up behind a failure, or what has ended: where the disk refuses that, the next start does it. */
export function tryOnDisk(use: () => void): void {
  try {
    use();
  } catch (error) {
    if (!isOutsideFault(error)) throw error;
  }
}

/** Gives a file new content: whole, whatever happens meanwhile. Throws what the file system says. */
export function replaceFile(file: string, text: string): void {
  const temporary = `${file}.tmp`;
  fs.writeFileSync(temporary, text, { mode: 0o600, flush: true });
  fs.renameSync(temporary, file);
  fsyncFolder(path.dirname(file));
}

/** Makes names in a folder durable. */
export function fsyncFolder(folder: string): void {
  const fd = fs.openSync(folder, 'r');
  try {
    fs.fsyncSync(fd);
  } catch (error) {
    // Network file systems that cannot do that for a folder say so.
    if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error;
  } finally {
    fs.closeSync(fd);
  }
}

function namesIn(folder: string): string[] {
  try {
    return fs.readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** undefined when the header is damaged: a restore will say so, when it needs the file. */
function headerTimeMs(file: string): number | undefined {
  const head = Buffer.alloc(HEADER_BYTES);
  const fd = fs.openSync(file, 'r');
  try {
    fs.readSync(fd, head, 0, head.length, 0);
    return decodeHeader(head).timestampMs;
  } catch (error) {
    if (isDamage(error)) return undefined;
    throw error;
  } finally {
    fs.closeSync(fd);
  }
}

/** Of one file, not of all that is on the disk: it may also have a sector that cannot be read. */
function isDamage(error: unknown): boolean {
  if (error instanceof LiteFsError) return error.code === 'LTX_CORRUPT';
  return (error as NodeJS.ErrnoException).code === 'EIO';
}
