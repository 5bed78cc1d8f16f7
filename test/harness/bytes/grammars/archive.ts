/** Archives, as a restore finds them: files of any content under any names, of which a state is to be made. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { CHECKSUM_FLAG, pageChecksum } from '../../../../src/kernels/checksum.ts';
import { LtxEncoder } from '../../../../src/ltx/encoder.ts';
import { formatTxid } from '../../../../src/ltx/position.ts';
import { memorySink } from '../../../../src/ltx/sources.ts';
import { Archive } from '../../../../src/snapshots/archive.ts';
import { restore } from '../../../../src/snapshots/restore.ts';
import { verifyArchive } from '../../../../src/snapshots/verify-archive.ts';
import type { SeededRandom } from '../../random.ts';
import type { Grammar } from '../grammar.ts';
import { mutate, oddNumber, oddText } from '../mutate.ts';
import { ltxFile, plainHeader, spoilHeader } from './ltx.ts';

interface Lying {
  /** Below the folder of the archive. */
  readonly name: string;
  readonly bytes: Buffer;
}

const PAGE_BYTES = 512;

/** A snapshot and what follows it, whole and in order. */
function chain(random: SeededRandom): Lying[] {
  const pages = new Map<number, Buffer>();
  const files: Lying[] = [];
  let txid = 0;
  let pre = 0n;
  for (let count = 1 + random.below(4); count > 0; count--) {
    const isFirst = txid === 0;
    const commit = 1 + random.below(8);
    for (const pgno of [...pages.keys()]) if (pgno > commit) pages.delete(pgno);
    const changed: number[] = [];
    for (let pgno = 1; pgno <= commit; pgno++) {
      if (pages.has(pgno) && random.below(2) === 0) continue;
      pages.set(pgno, Buffer.alloc(PAGE_BYTES, random.below(256)));
      changed.push(pgno);
    }
    let sum = 0n;
    for (const [pgno, page] of pages) sum ^= pageChecksum(pgno, page);
    const post = sum | CHECKSUM_FLAG;
    const minTxid = txid + 1;
    txid += 1 + random.below(3);
    const header = {
      ...plainHeader(random, minTxid),
      pageSize: PAGE_BYTES,
      commit,
      maxTxid: txid,
      preChecksum: isFirst ? 0n : pre,
      postAside: post,
    };
    const sink = memorySink();
    const encoder = new LtxEncoder(sink, header, { compress: true });
    for (const pgno of changed) encoder.page(pgno, pages.get(pgno) as Buffer);
    encoder.finish(post);
    const level = isFirst ? 9 : random.below(3);
    files.push({ name: nameOf(level, minTxid, txid), bytes: sink.bytes() });
    pre = post;
  }
  return files;
}

function nameOf(level: number, minTxid: number, maxTxid: number): string {
  return `ltx/${level}/${formatTxid(minTxid)}-${formatTxid(maxTxid)}.ltx`;
}

function spoil(random: SeededRandom, { name, bytes }: Lying, all: readonly Lying[]): Lying {
  switch (random.below(8)) {
    case 0: {
      const low = oddNumber(random, 53);
      return { name: nameOf(random.below(10), low, low + random.below(5)), bytes };
    }
    case 1: {
      const spoiled = Buffer.from(bytes);
      spoilHeader(random, spoiled);
      return { name, bytes: spoiled };
    }
    case 2:
      return { name, bytes: ltxFile(random, plainHeader(random), random.below(2) === 0) };
    case 3:
      return { name, bytes: random.pick(all).bytes };
    case 4: {
      const odd = oddText(random).replace(/[/\0]/g, '_').slice(0, 60);
      return { name: `ltx/${random.below(10)}/${odd || 'x'}.ltx`, bytes };
    }
    default:
      return {
        name,
        bytes: mutate(
          random,
          bytes,
          all.map((one) => one.bytes),
        ),
      };
  }
}

export const archive: Grammar = {
  name: 'archive',
  reads: 'archives of snapshots and increments, as a restore and verify-snapshots find them',
  codes: ['RESTORE_POINT', 'LTX_CORRUPT', 'DATABASE_CORRUPT', 'DISK'],
  bounds: { ms: 3000, perByte: 256, anyway: 32 << 20 },
  isStateful: false,
  begin(folder) {
    let count = 0;
    return {
      make(random) {
        const whole = chain(random);
        const isSound = random.below(6) === 0;
        const files = whole.map((file) =>
          isSound || random.below(2) === 0 ? file : spoil(random, file, whole),
        );
        if (!isSound && random.below(4) === 0) files.splice(random.below(files.length), 1);
        const wanted = random.below(3);
        const target =
          wanted === 0
            ? ({ kind: 'latest' } as const)
            : wanted === 1
              ? ({ kind: 'txid', txid: 1 + random.below(8) } as const)
              : ({ kind: 'time', timeMs: 1_700_000_000_000 + random.below(1000) } as const);
        return {
          bytes: files.reduce((sum, { bytes }) => sum + bytes.length, 0),
          take() {
            const root = path.join(folder, `${count++}`);
            for (const { name, bytes } of files) {
              const file = path.join(root, 'archive', name);
              fs.mkdirSync(path.dirname(file), { recursive: true });
              fs.writeFileSync(file, bytes);
            }
            try {
              const found = new Archive(path.join(root, 'archive'));
              found.open();
              const verdict = verifyArchive(found, 0);
              if (isSound) assert.deepEqual([...verdict.damaged, ...verdict.missing], []);
              const output = path.join(root, 'out.db');
              fs.mkdirSync(root, { recursive: true });
              try {
                const { bytes } = restore(found, target, output, { check: 'quick', force: false });
                assert.equal(fs.statSync(output).size, bytes);
              } finally {
                const left = fs
                  .readdirSync(root)
                  .filter((name) => !/^(archive|out\.db)$/.test(name));
                assert.deepEqual(left, [], 'what a restore has left');
              }
              return 'value';
            } finally {
              fs.rmSync(root, { recursive: true, force: true });
            }
          },
        };
      },
      end() {},
    };
  },
};
