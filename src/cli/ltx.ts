/** `litefs-lite ltx …`: looks into LTX files and the segments of a log. */

import fs from 'node:fs';
import path from 'node:path';
import { errorText, LiteFsError } from '../errors.ts';
import { LtxDecoder } from '../ltx/decoder.ts';
import { formatChecksum, formatPosition, formatTxid } from '../ltx/position.ts';
import { fileSource } from '../ltx/sources.ts';
import { readPostChecksum } from '../ltx/tail.ts';
import { formatTime } from '../snapshots/when.ts';
import { printJson, printLine, printText } from './print.ts';
import { formatBytes, formatTable } from './table.ts';

interface Entry {
  readonly file: string;
  readonly offset: number;
  readonly length: number;
}

/** One line for each transaction. */
export function ltxList(files: readonly string[], flags: { json?: boolean }): number {
  const rows = files.flatMap((file) =>
    named(file, () => entriesOf(file).map((entry) => summary(entry))),
  );
  if (flags.json) {
    printJson(rows);
    return 0;
  }
  const columns = ['FROM', 'TO', 'AFTER IT', 'WHEN', 'PAGE SIZE', 'PAGES', 'SIZE'];
  const lines = rows.map((row) => [
    row.minTxid,
    row.maxTxid,
    row.post,
    formatTime(Date.parse(row.timestamp)),
    `${row.pageSize}`,
    `${row.commit}`,
    formatBytes(row.bytes),
  ]);
  printText(`${formatTable(columns, lines)}\n`);
  return 0;
}

/** Everything but the content of the pages. */
export function ltxDump(file: string, flags: { json?: boolean }): number {
  named(file, () => dumpEntries(file, flags));
  return 0;
}

function dumpEntries(file: string, flags: { json?: boolean }): void {
  for (const entry of entriesOf(file)) {
    const dump = withDecoder(entry, (decoder) => {
      const pages: number[] = [];
      for (let page = decoder.next(); page; page = decoder.next()) pages.push(page.pgno);
      return { pages, trailer: decoder.finish() };
    });
    const report = {
      ...summary(entry),
      pages: dump.pages,
      fileChecksum: formatChecksum(dump.trailer.fileChecksum),
    };
    if (flags.json) printJson(report);
    else {
      for (const [key, value] of Object.entries(report)) {
        printLine(`${`${key}:`.padEnd(14)} ${Array.isArray(value) ? value.join(' ') : value}`);
      }
      printLine('');
    }
  }
}

/** Says of which file it is that it is damaged. */
function named<T>(file: string, use: () => T): T {
  try {
    return use();
  } catch (error) {
    if (!(error instanceof LiteFsError) || error.code !== 'LTX_CORRUPT') throw error;
    throw new LiteFsError(error.code, `${file}: ${error.message}`, { cause: error });
  }
}

/** 65 when a file is damaged. */
export function ltxVerify(files: readonly string[]): number {
  let bad = 0;
  for (const file of files) {
    try {
      const entries = entriesOf(file);
      for (const entry of entries) withDecoder(entry, (decoder) => decoder.finish());
      printLine(`${file}: ok, ${entries.length} ${entries.length === 1 ? 'entry' : 'entries'}`);
    } catch (error) {
      bad++;
      printLine(`${file}: DAMAGED: ${errorText(error)}`);
    }
  }
  return bad === 0 ? 0 : 65;
}

function entriesOf(file: string): Entry[] {
  const { size } = statFile(file);
  if (path.extname(file) !== '.seg') return [{ file, offset: 0, length: size }];
  const fd = fs.openSync(file, 'r');
  try {
    const entries: Entry[] = [];
    const prefix = Buffer.alloc(4);
    for (let at = 0; at + 4 <= size; ) {
      fs.readSync(fd, prefix, 0, 4, at);
      const length = Math.min(prefix.readUInt32BE(), size - at - 4);
      entries.push({ file, offset: at + 4, length });
      at += 4 + length;
    }
    return entries;
  } finally {
    fs.closeSync(fd);
  }
}

function statFile(file: string): fs.Stats {
  let stat: fs.Stats;
  try {
    fs.accessSync(file, fs.constants.R_OK);
    stat = fs.statSync(file);
  } catch (error) {
    throw new LiteFsError('USAGE', `cannot read ${file}: ${errorText(error)}`, { cause: error });
  }
  if (!stat.isDirectory()) return stat;
  throw new LiteFsError('USAGE', `${file} is a directory`, {
    hint: `Name the files in it: ${path.join(file, '*')}`,
  });
}

function withDecoder<T>(entry: Entry, use: (decoder: LtxDecoder) => T): T {
  const fd = fs.openSync(entry.file, 'r');
  try {
    return use(new LtxDecoder(fileSource(fd, entry.offset, entry.length)));
  } finally {
    fs.closeSync(fd);
  }
}

function summary(entry: Entry) {
  const fd = fs.openSync(entry.file, 'r');
  try {
    const { header } = new LtxDecoder(fileSource(fd, entry.offset, entry.length));
    const checksum = readPostChecksum(header, entry.length, (into, at) => {
      fs.readSync(fd, into, 0, into.length, entry.offset + at);
    });
    return {
      minTxid: formatTxid(header.minTxid),
      maxTxid: formatTxid(header.maxTxid),
      pre: formatPosition({ txid: header.minTxid - 1, checksum: header.preChecksum }),
      post: formatPosition({ txid: header.maxTxid, checksum }),
      timestamp: new Date(header.timestampMs).toISOString(),
      pageSize: header.pageSize,
      commit: header.commit,
      nodeId: header.nodeId.toString(16).padStart(16, '0'),
      bytes: entry.length,
    };
  } finally {
    fs.closeSync(fd);
  }
}
