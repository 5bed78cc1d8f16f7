/** `litefs-lite export` and `import`: a database out of a running node, and into one. */

import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { errorText, LiteFsError } from '../errors.ts';
import type { ImportReport } from '../http/info.ts';
import { checkOutput, SIDE_FILES } from '../snapshots/output.ts';
import { openRequest, postJson, readJson } from './client.ts';
import { type NodeAddress, type NodeFlags, nodeAt } from './node-url.ts';
import { printLine } from './print.ts';
import { progressBar } from './progress.ts';
import { formatBytes } from './table.ts';

interface Flags extends NodeFlags {
  readonly force?: boolean;
}

/** Writes one state of a database to a file, or to standard output. */
export async function exportDatabase(
  database: string,
  file: string | undefined,
  flags: Flags,
): Promise<number> {
  if (file === undefined && process.stdout.isTTY) {
    throw new LiteFsError('USAGE', 'a terminal is no place for a database', {
      hint: `Say where to: litefs-lite export ${database} FILE`,
    });
  }
  const whole = file === undefined ? undefined : path.resolve(file);
  if (whole !== undefined) checkOutput(whole, flags.force ?? false);
  const node = nodeAt(flags);
  const { url } = node;
  const where = `/export?name=${encodeURIComponent(database)}`;
  const body = await openRequest('GET', node, where, { isGuarded: true });
  const total = Number(body.headers['content-length']);
  if (whole === undefined) {
    await pipeline(body, process.stdout, { end: false });
    return 0;
  }
  const part = `${whole}.${randomUUID()}.part`;
  try {
    await withBar(total, (counted) =>
      pipeline(
        body,
        counted,
        fs.createWriteStream(part, { flags: 'wx', mode: 0o600, flush: true }),
      ),
    );
    // A journal of the former file would be taken for one of the new.
    for (const suffix of SIDE_FILES) fs.rmSync(whole + suffix, { force: true });
    fs.renameSync(part, whole);
  } catch (error) {
    fs.rmSync(part, { force: true });
    throw asFault(error, url);
  }
  printLine(`${file}: ${database}, ${formatBytes(total)}`);
  return 0;
}

/** Sends a file to the primary, which makes it one transaction. */
export async function importDatabase(
  database: string,
  file: string,
  flags: Flags,
): Promise<number> {
  const size = sizeOf(file);
  if (fs.existsSync(`${file}-wal`) && fs.statSync(`${file}-wal`).size > 0) {
    throw new LiteFsError(
      'USAGE',
      `${file} is in use, or was left so: ${file}-wal has a part of it`,
      {
        hint: `Make a copy that is whole: sqlite3 ${file} ".backup copy.db"`,
      },
    );
  }
  const node = nodeAt(flags);
  const report = await withBar(size, async (counted) => {
    const body = fs.createReadStream(file).pipe(counted);
    const where = `/import?name=${encodeURIComponent(database)}`;
    const response = await openRequest('POST', node, where, { body, isGuarded: true }).catch(
      (error) => saidInstead(error, node, where),
    );
    return readJson<ImportReport>(response, node.url);
  });
  printLine(`${report.name}: ${formatBytes(report.bytes)}, at ${report.position}`);
  return 0;
}

/**
 * A node that refuses does not read what is sent, and the connection breaks, often before its answer has come. Without a
 * body it is heard. What it says of the body then is no answer to ours.
 */
async function saidInstead(error: unknown, node: NodeAddress, where: string): Promise<never> {
  if (error instanceof LiteFsError && error.code === 'NODE_UNREACHABLE') {
    await postJson(node, where).catch((refusal: LiteFsError) => {
      if (refusal.code !== 'DATABASE_CORRUPT') throw refusal;
    });
  }
  throw error;
}

/** Of a file that can be read. Throws USAGE. */
function sizeOf(file: string): number {
  try {
    fs.accessSync(file, fs.constants.R_OK);
    const stat = fs.statSync(file);
    if (!stat.isDirectory()) return stat.size;
  } catch (error) {
    throw new LiteFsError('USAGE', `cannot read ${file}: ${errorText(error)}`, { cause: error });
  }
  throw new LiteFsError('USAGE', `${file} is a directory, not a database`);
}

/** Counts what goes through, and shows it. */
async function withBar<T>(total: number, work: (counted: Transform) => Promise<T>): Promise<T> {
  const bar = progressBar(process.stderr);
  let bytes = 0;
  const counted = new Transform({
    transform(chunk: Buffer, _, done) {
      bytes += chunk.length;
      bar.show(bytes, total);
      done(null, chunk);
    },
  });
  try {
    return await work(counted);
  } finally {
    bar.end();
  }
}

function asFault(error: unknown, url: string): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EACCES' || code === 'ENOENT' || code === 'EROFS') {
    return new LiteFsError('DISK', message, { cause: error });
  }
  return new LiteFsError('NODE_UNREACHABLE', `${url} did not send all of it: ${message}`, {
    cause: error,
  });
}
