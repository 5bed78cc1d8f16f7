/** A replica whose primary has been taken over: entries, resyncs, drops and owners that say anything. Another database goes on. */
import assert from 'node:assert/strict';
import { LiteFsError } from '../../../../src/errors.ts';
import { CHECKSUM_FLAG, Crc64, pageChecksum } from '../../../../src/kernels/checksum.ts';
import { LtxDecoder } from '../../../../src/ltx/decoder.ts';
import { LtxEncoder } from '../../../../src/ltx/encoder.ts';
import { decodeHeader, encodeHeader } from '../../../../src/ltx/header.ts';
import { type Position, ZERO_POSITION } from '../../../../src/ltx/position.ts';
import { memorySink, memorySource } from '../../../../src/ltx/sources.ts';
import { EngineStand } from '../../engine-stand.ts';
import type { SeededRandom } from '../../random.ts';
import { APP, makeSeeds, OTHER, withEngine } from '../engine-seeds.ts';
import type { Grammar } from '../grammar.ts';
import { edge, mutate, noise, oddNumber } from '../mutate.ts';
import { ltxFile, plainHeader } from './ltx.ts';

type Step = (stand: EngineStand) => Promise<unknown>;

const NAMES = [APP, APP, APP, OTHER.replace('other', 'new'), 'new.db', 'a/b/c.db'];

/** An entry as it should come, with some numbers changed, and checksums of the file that are right. */
function nearEntry(random: SeededRandom, real: Buffer): Buffer {
  const header = { ...decodeHeader(real) };
  const decoder = new LtxDecoder(memorySource(real));
  const pages = new Map<number, Buffer>();
  for (let page = decoder.next(); page; page = decoder.next())
    pages.set(page.pgno, Buffer.from(page.data));
  let { postChecksum } = decoder.finish();
  const set = (pgno: number, data: Buffer) => {
    const old = pages.get(pgno);
    // As if the page had been empty before: so it is for pages behind the end.
    postChecksum ^= (old ? pageChecksum(pgno, old) : 0n) ^ pageChecksum(pgno, data);
    postChecksum |= CHECKSUM_FLAG;
    pages.set(pgno, data);
  };
  for (let count = random.below(3); count > 0; count--) {
    const pgno = random.below(2) === 0 ? Math.max(1, oddNumber(random, 32)) : 1 + random.below(20);
    set(pgno, noise(random, header.pageSize));
  }
  const most = Math.max(0, ...pages.keys());
  const commit =
    random.below(3) === 0 ? Math.max(most, oddNumber(random, 32)) : Math.max(most, header.commit);
  const changed = {
    ...header,
    commit,
    maxTxid: random.below(6) === 0 ? header.maxTxid + random.below(1000) : header.maxTxid,
    timestampMs:
      random.below(6) === 0 ? Number(BigInt.asUintN(52, edge(random))) : header.timestampMs,
    walOffset: random.below(6) === 0 ? oddNumber(random, 53) : header.walOffset,
    walSize: random.below(6) === 0 ? oddNumber(random, 53) : header.walSize,
    flags: random.below(6) === 0 ? 2 : header.flags,
    preChecksum: random.below(12) === 0 ? 0n : header.preChecksum,
  };
  const sink = memorySink();
  const encoder = new LtxEncoder(sink, changed, { compress: random.below(2) === 0 });
  const lockPage = 2 ** 30 / header.pageSize + 1;
  for (const pgno of [...pages.keys()].sort((a, b) => a - b)) {
    if (pgno !== lockPage) encoder.page(pgno, pages.get(pgno) ?? Buffer.alloc(0));
  }
  encoder.finish(postChecksum);
  return sink.bytes();
}

/** Its beginning spoiled, its checksum put right where that can be. */
function spoiled(random: SeededRandom, real: Buffer): Buffer {
  if (random.below(2) === 0) return mutate(random, real);
  const bytes = Buffer.from(real);
  const header = {
    ...decodeHeader(bytes),
    commit: oddNumber(random, 32),
    nodeId: edge(random) & 0xffffn,
  };
  encodeHeader(header).copy(bytes);
  new Crc64().update(bytes);
  return bytes;
}

function oddPosition(random: SeededRandom): Position {
  if (random.below(4) === 0) return ZERO_POSITION;
  return {
    txid: oddNumber(random, 53),
    checksum: BigInt.asUintN(64, edge(random)) | CHECKSUM_FLAG,
  };
}

interface Corpus {
  readonly next: readonly Buffer[];
  readonly entries: readonly Buffer[];
}

function entry(random: SeededRandom, { next, entries }: Corpus): Buffer {
  switch (random.below(6)) {
    case 0:
      return random.pick([...next, ...entries]);
    case 1:
      return spoiled(random, random.pick(next));
    case 2:
      return ltxFile(random, plainHeader(random), random.below(2) === 0);
    default:
      return nearEntry(random, random.pick([next[0], next[0], ...next, ...entries]));
  }
}

/** Calls of which each may be refused. `bytes` is what they bring. */
function step(random: SeededRandom, corpus: Corpus): { bytes: number; run: Step } {
  const database = random.pick(NAMES);
  if (random.below(3) > 0) {
    const bytes = entry(random, corpus);
    return {
      bytes: bytes.length,
      run: (stand) => stand.call('apply', { database, source: { bytes } }),
    };
  }
  switch (random.below(5)) {
    case 0: {
      const diverged = random.below(2) === 0;
      return { bytes: 1, run: (stand) => stand.call('drop', { database, diverged }) };
    }
    case 1:
      return { bytes: 1, run: (stand) => stand.call('verify', { database, recall: undefined }) };
    default:
      return resync(random, database, corpus);
  }
}

function resync(
  random: SeededRandom,
  database: string,
  corpus: Corpus,
): { bytes: number; run: Step } {
  const pageSize = random.below(4) === 0 ? oddNumber(random, 32) : 512;
  const pageCount = random.below(3) === 0 ? oddNumber(random, 32) : 1 + random.below(6);
  const base = {
    pageSize,
    pageCount,
    position: oddPosition(random),
    diverged: random.below(2) === 0,
  };
  let sum = 0n;
  const records = Array.from({ length: random.below(8) }, (_, i) => {
    const record = noise(random, 4 + Math.min(pageSize, 4096));
    const pgno = random.below(6) === 0 ? oddNumber(random, 32) : i + 1;
    record.writeUInt32BE(pgno, 0);
    if (record.length >= 516) sum ^= pageChecksum(pgno, record.subarray(4));
    return record;
  });
  const pages = Buffer.concat(records);
  const isHeld = random.below(3) > 0;
  const more = random.below(3) === 0 ? entry(random, corpus) : undefined;
  const end = isHeld
    ? { txid: 1 + random.below(100), checksum: sum | CHECKSUM_FLAG }
    : oddPosition(random);
  return {
    bytes: pages.length + (more?.length ?? 0),
    async run(stand) {
      const { resync: id } = await stand.call('resyncBegin', { database, ...base });
      try {
        const shared = new SharedArrayBuffer(pages.length);
        Buffer.from(shared).set(pages);
        if (pages.length > 0)
          await stand.call('resyncPages', { resync: id, records: shared, bytes: pages.length });
        if (more) await stand.call('resyncEntry', { resync: id, source: { bytes: more } });
        await stand.call('resyncFinish', { resync: id, position: end });
      } catch (error) {
        await stand.call('resyncAbort', { resync: id }).catch(() => {});
        throw error;
      }
    },
  };
}

export const entriesGrammar: Grammar = {
  name: 'entries',
  reads: 'entries and resyncs of a primary that lies, applied by the engine of a replica',
  codes: [
    'CHECKSUM_MISMATCH',
    'LTX_CORRUPT',
    'PROTOCOL',
    'DATABASE_NOT_FOUND',
    'WRONG_STATE',
    'DISK',
  ],
  bounds: { ms: 10_000, perByte: 0, anyway: Infinity },
  isStateful: true,
  async begin(folder) {
    const { replica, next, entries } = await makeSeeds(folder);
    return {
      make(random) {
        const steps = Array.from({ length: 1 + random.below(5) }, () =>
          step(random, { next, entries }),
        );
        return {
          bytes: steps.reduce((sum, { bytes }) => sum + bytes, 0),
          take: () =>
            withEngine(folder, replica, async (dir) => {
              const stand = new EngineStand(dir, { role: 'replica' });
              let refused = 0;
              try {
                await stand.start();
                for (const { run } of steps) {
                  try {
                    await run(stand);
                  } catch (error) {
                    if (
                      !(error instanceof LiteFsError) ||
                      !entriesGrammar.codes.includes(error.code)
                    )
                      throw error;
                    refused++;
                  }
                }
                const infos = await stand.call('info', {});
                const other = infos.find(({ name }) => name === OTHER);
                assert.equal(other?.status.state, 'ok', JSON.stringify(other?.status));
                assert.equal(other?.position.txid, replica.txids.get(OTHER));
                return refused < steps.length ? 'value' : 'refused';
              } finally {
                stand.die();
              }
            }),
        };
      },
      end() {},
    };
  },
};
