/** A -shm file in memory with locks, shared by any number of clients: the world around wal-locks.ts. */
import { WAL_READ_SLOT } from '../../../src/sqlite/locks.ts';
import {
  BACKFILL_OFFSET,
  parseWalIndexHeader,
  readMarkOffset,
  WAL_INDEX_HEADER_BYTES,
  type WalIndexHeader,
} from '../../../src/sqlite/wal-index.ts';
import { publishHeader, type ShmAccess } from '../../../src/sqlite/wal-locks.ts';

const SLOTS = 8;

export class ShmModel {
  readonly bytes = Buffer.alloc(WAL_INDEX_HEADER_BYTES);
  readonly #holders: Map<number, 'shared' | 'exclusive'>[] = Array.from(
    { length: SLOTS },
    () => new Map(),
  );
  #clients = 0;

  /** An index with these numbers and nobody at it. */
  constructor(state: {
    mxFrame: number;
    backfill: number;
    marks: [number, number, number, number];
  }) {
    publishHeader(this.client(), headerWith(state.mxFrame));
    this.#put(BACKFILL_OFFSET, state.backfill);
    state.marks.forEach((mark, i) => {
      this.#put(readMarkOffset(i + 1), mark);
    });
  }

  get parsed(): ReturnType<typeof parseWalIndexHeader> {
    return parseWalIndexHeader(this.bytes);
  }

  /** Slots with any lock, by number. */
  get locked(): number[] {
    return this.#holders.flatMap((holders, slot) => (holders.size > 0 ? [slot] : []));
  }

  /** A new client; `before` is called ahead of each of its calls, and may do as others would. */
  client(before: (call: string) => void = () => {}): ShmAccess {
    const id = this.#clients++;
    return {
      mayRaise: true,
      lock: (slot, count, type) => {
        before('lock');
        const slots = this.#holders.slice(slot, slot + count);
        const free = slots.every((holders) =>
          [...holders].every(
            ([who, held]) => who === id || (type === 'shared' && held === 'shared'),
          ),
        );
        if (free) for (const holders of slots) holders.set(id, type);
        return free;
      },
      unlock: (slot, count) => {
        before('unlock');
        for (const holders of this.#holders.slice(slot, slot + count)) holders.delete(id);
      },
      readShm: (offset, length) => {
        before('read');
        return Buffer.from(this.bytes.subarray(offset, offset + length));
      },
      writeShm: (offset, bytes) => {
        before('write');
        bytes.copy(this.bytes, offset);
      },
    };
  }

  /** Another client takes read slot `i`; returns how it lets go. */
  hold(i: number, type: 'shared' | 'exclusive' = 'shared'): () => void {
    const client = this.client();
    if (!client.lock(WAL_READ_SLOT(i), 1, type)) throw new Error(`read slot ${i} is locked`);
    return () => client.unlock(WAL_READ_SLOT(i), 1);
  }

  #put(offset: number, value: number): void {
    this.bytes.writeUInt32LE(value, offset);
  }
}

export function headerWith(mxFrame: number): WalIndexHeader {
  return {
    version: 3007000,
    change: mxFrame,
    isInit: true,
    bigEndian: false,
    pageSize: 4096,
    mxFrame,
    pageCount: 10,
    frameChecksum1: 1,
    frameChecksum2: 2,
    salt1: 0xffffffff,
    salt2: 4,
  };
}
