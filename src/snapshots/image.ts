/** Makes a database file of archive files. */
import fs from 'node:fs';
import { errorText, isOutsideFault, LiteFsError } from '../errors.ts';
import { CHECKSUM_FLAG, pageChecksum } from '../kernels/checksum.ts';
import { mergedPages } from '../ltx/compact.ts';
import { LtxDecoder } from '../ltx/decoder.ts';
import { corrupt, FLAG_NO_CHECKSUM, type LtxHeader } from '../ltx/header.ts';
import { fileSource } from '../ltx/sources.ts';
import { lockPageNumber } from '../sqlite/db-header.ts';
import { pace } from './pace.ts';

/** full: PRAGMA integrity_check as well; quick: checksums of all pages and of the whole; off: no PRAGMA either. */
export type CheckLevel = 'full' | 'quick' | 'off';

export interface Progress {
  readonly pages: number;
  readonly pagesTotal: number;
}

const WRITE_BYTES = 1 << 20;
const PAGES_PER_PROGRESS = 1024;

/**
 * Writes the state after the last of `files` to `output`, a new file, which is on disk in the end. Without one all is
 * read and checked just the same.
 * @throws LiteFsError LTX_CORRUPT, whose message begins with the file at fault; DISK
 */
export function writeImage(
  files: readonly string[],
  output: string | undefined,
  progress: (progress: Progress) => void = () => {},
): LtxHeader {
  const inputs: number[] = [];
  const fd = output === undefined ? undefined : fs.openSync(output, 'wx', 0o600);
  try {
    const decoders = files.map((file) => {
      const input = reading(file, () => fs.openSync(file, 'r'));
      inputs.push(input);
      return decoderOf(file, input);
    });
    const whole = fromLastWhole(decoders);
    const header = named(files[files.length - 1], () => writePages(fd, whole, progress));
    if (fd !== undefined) fs.fsyncSync(fd);
    return header;
  } finally {
    for (const input of inputs) fs.closeSync(input);
    if (fd !== undefined) fs.closeSync(fd);
  }
}

/** Reads all of a file. Throws LTX_CORRUPT, whose message begins with its path, also when it cannot be read. */
export function checkFile(file: string): LtxHeader {
  const fd = reading(file, () => fs.openSync(file, 'r'));
  try {
    const decoder = decoderOf(file, fd);
    decoder.finish();
    return decoder.header;
  } finally {
    fs.closeSync(fd);
  }
}

function decoderOf(file: string, fd: number): LtxDecoder {
  return ofFile(
    file,
    () => new NamedDecoder(fileSource(fd, 0, fs.fstatSync(fd).size, pace.spend), file),
  );
}

/** What only reads `file`: whatever goes wrong is wrong with that. */
function ofFile<T>(file: string, use: () => T): T {
  return reading(file, () => named(file, use));
}

/** A file that cannot be read is a damaged one: others may have the same content. Not so when no file can be had. */
function reading<T>(file: string, use: () => T): T {
  try {
    return use();
  } catch (error) {
    if (!isOutsideFault(error) || error instanceof LiteFsError || isOfAll(error)) throw error;
    throw new DamagedFile(file, corrupt(`cannot be read: ${errorText(error)}`));
  }
}

function isOfAll(error: unknown): boolean {
  return ['EACCES', 'EPERM', 'EMFILE', 'ENFILE', 'ENOMEM'].includes(
    (error as NodeJS.ErrnoException).code ?? '',
  );
}

/** Names its file in what it throws. */
class NamedDecoder extends LtxDecoder {
  readonly #file: string;

  constructor(source: ConstructorParameters<typeof LtxDecoder>[0], file: string) {
    super(source);
    this.#file = file;
  }

  override next() {
    return ofFile(this.#file, () => super.next());
  }

  override finish() {
    return ofFile(this.#file, () => super.finish());
  }
}

function named<T>(file: string, use: () => T): T {
  try {
    return use();
  } catch (error) {
    if (error instanceof DamagedFile) throw error;
    if (!(error instanceof LiteFsError) || error.code !== 'LTX_CORRUPT') throw error;
    throw new DamagedFile(file, error);
  }
}

/** LTX_CORRUPT, of a file that is known. */
export class DamagedFile extends LiteFsError {
  readonly file: string;

  constructor(file: string, cause: LiteFsError) {
    super(
      'LTX_CORRUPT',
      cause.message.startsWith(file) ? cause.message : `${file} ${cause.message}`,
      { cause },
    );
    this.file = file;
  }
}

/** A file with another page size, or behind a drop, has all pages: what was before it is of no use. */
function fromLastWhole(decoders: readonly LtxDecoder[]): readonly LtxDecoder[] {
  const begin = decoders.findLastIndex(({ header }, index) => {
    const before = decoders[index - 1]?.header;
    return before !== undefined && (before.pageSize !== header.pageSize || before.commit === 0);
  });
  return begin < 0 ? decoders : decoders.slice(begin);
}

function writePages(
  fd: number | undefined,
  decoders: readonly LtxDecoder[],
  progress: (progress: Progress) => void,
): LtxHeader {
  const { header } = decoders[decoders.length - 1];
  const { pageSize, commit } = header;
  const lockPage = lockPageNumber(pageSize);
  const pagesTotal = commit - (lockPage <= commit ? 1 : 0);
  const buffer = Buffer.allocUnsafeSlow(Math.max(WRITE_BYTES, pageSize));
  let begin = 0;
  let length = 0;
  const flush = () => {
    if (fd !== undefined) {
      for (let at = 0; at < length; ) at += fs.writeSync(fd, buffer, at, length - at, begin + at);
    }
    begin += length;
    length = 0;
  };
  let xor = 0n;
  let count = 0;
  const pages = mergedPages(decoders);
  let step = pages.next();
  for (; !step.done; step = pages.next()) {
    const { pgno, data } = step.value;
    const offset = (pgno - 1) * pageSize;
    if (offset !== begin + length || length + pageSize > buffer.length) flush();
    if (length === 0) begin = offset;
    data.copy(buffer, length);
    length += pageSize;
    xor ^= pageChecksum(pgno, data);
    if (++count % PAGES_PER_PROGRESS === 0) progress({ pages: count, pagesTotal });
  }
  flush();
  if (fd !== undefined) fs.ftruncateSync(fd, commit * pageSize);
  progress({ pages: count, pagesTotal });
  if (count !== pagesTotal)
    throw corrupt(`has ${count} of ${pagesTotal} pages, with the files before it`);
  const checksum = commit === 0 ? 0n : xor | CHECKSUM_FLAG;
  if ((header.flags & FLAG_NO_CHECKSUM) === 0 && checksum !== step.value) {
    throw corrupt('and the files before it do not make the database whose checksum it has');
  }
  return header;
}
