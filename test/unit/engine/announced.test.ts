/**
 * A peer that announces what it does not send: pages of a resync, the size of a database behind a transaction.
 *
 * On 25311ce RESYNC_BEGIN with 0xfffffffe pages had the engine make a table of 32 GiB for them, and answer nothing meanwhile; so
 * had an entry of one page that said so many. A page size of 1.5 MiB, or a page number of 0, was taken for a bug of the program,
 * which ended.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { CHECKSUM_FLAG, pageChecksum } from '../../../src/kernels/checksum.ts';
import { LtxEncoder } from '../../../src/ltx/encoder.ts';
import { memorySink } from '../../../src/ltx/sources.ts';
import { layoutOf } from '../../../src/store/layout.ts';
import { EngineStand } from '../../harness/engine-stand.ts';
import { withFolder } from '../os/folder.ts';

const NAME = 'app.db';
const PAGE_BYTES = 4096;
const PAGES_MAX = 0xfffffffe;
const PAGE = Buffer.alloc(PAGE_BYTES, 7);
const SUM = pageChecksum(1, PAGE);
/** Of a table of checksums for all that is announced there would be gigabytes. */
const MEMORY_BYTES_MAX = 64 << 20;

function record(pgno: number, page: Buffer = PAGE): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(pgno);
  return Buffer.concat([head, page]);
}

/** A replica without databases, which is well at the end: it answers, keeps nothing, and has taken no memory. */
async function withReplica(body: (replica: EngineStand, dir: string) => Promise<void>) {
  await withFolder(async (folder) => {
    const dir = path.join(folder, 'replica');
    const replica = new EngineStand(dir, { role: 'replica', formerRole: 'replica' });
    await replica.start();
    try {
      const before = process.memoryUsage.rss();
      await body(replica, dir);
      assert((await replica.call('info', {})).every(({ pageCount }) => pageCount === 0));
      assert.deepEqual(fs.readdirSync(layoutOf(dir).spool), []);
      assert(process.memoryUsage.rss() - before < MEMORY_BYTES_MAX);
    } finally {
      await replica.stop();
    }
  });
}

/** A resync that announces so much and sends these records. Rejects with what the engine says of it. */
async function resync(
  replica: EngineStand,
  size: { pageSize: number; pageCount: number },
  records: readonly Buffer[],
): Promise<void> {
  const position = { txid: 9, checksum: SUM };
  const base = { database: NAME, position, diverged: false, ...size };
  const { resync } = await replica.call('resyncBegin', base);
  try {
    for (const bytes of records) {
      const shared = new SharedArrayBuffer(bytes.length);
      Buffer.from(shared).set(bytes);
      await replica.call('resyncPages', { resync, records: shared, bytes: bytes.length });
    }
  } catch (error) {
    await replica.call('resyncAbort', { resync });
    throw error;
  }
  await replica.call('resyncFinish', { resync, position });
}

describe('a resync', () => {
  for (const [what, pageSize, pageCount, ...records] of [
    ['of as many pages as there can be, of which one comes', PAGE_BYTES, PAGES_MAX, record(1)],
    ['of as many, of which the last comes', PAGE_BYTES, PAGES_MAX, record(1), record(PAGES_MAX)],
    ['of more pages than there can be', PAGE_BYTES, PAGES_MAX + 1],
    ['of a page more than comes', PAGE_BYTES, 3, record(1), record(3)],
    ['of pages of no size', 0, 1],
    ['of pages of 1.5 MiB', 3 << 19, 1, record(1, Buffer.alloc(3 << 19))],
    ['of pages of 4 GiB', 0xffffffff, 1],
    ['with a page 0', PAGE_BYTES, 1, record(0)],
    ['with a page past its end', PAGE_BYTES, 1, record(1), record(2)],
    ['with the lock page', 65536, 20_000, record(16_385, Buffer.alloc(65536))],
  ] as const) {
    it(`${what} is refused`, () =>
      withReplica((replica) =>
        assert.rejects(resync(replica, { pageSize, pageCount }, records), { code: 'PROTOCOL' }),
      ));
  }

  it('of which all comes is taken', () =>
    withFolder(async (folder) => {
      const replica = new EngineStand(folder, { role: 'replica', formerRole: 'replica' });
      await replica.start();
      await resync(replica, { pageSize: PAGE_BYTES, pageCount: 1 }, [record(1)]);
      assert.equal(replica.database(NAME).pageCount, 1);
      await replica.stop();
    }));
});

describe('an entry', () => {
  it('that says that more pages are in the database than came is refused', () =>
    withReplica(async (replica) => {
      for (const commit of [PAGES_MAX, 3]) {
        const sink = memorySink();
        const encoder = new LtxEncoder(
          sink,
          {
            flags: 0,
            pageSize: PAGE_BYTES,
            commit,
            minTxid: 1,
            maxTxid: 1,
            timestampMs: 0,
            preChecksum: 0n,
            walOffset: 0,
            walSize: 0,
            walSalt1: 0,
            walSalt2: 0,
            nodeId: 1n,
          },
          { compress: true },
        );
        encoder.page(1, PAGE);
        encoder.finish(SUM | CHECKSUM_FLAG);
        const source = { bytes: new Uint8Array(sink.bytes()) };
        await assert.rejects(replica.call('apply', { database: NAME, source }), {
          code: 'LTX_CORRUPT',
          message: new RegExp(`lacks pages of the ${commit}`),
        });
      }
    }));
});
