/**
 * The few words that the mount thread, the engine and main share. A thread that is blocked in a read of /dev/fuse
 * gets no messages; this it can look at when the next request comes.
 *
 *     offset  type     what
 *     0       int32    role: 0 primary, 1 replica
 *     4       int32    thread id of the engine: its requests are our own
 *     8       int32    length of `answer`
 *     12      int32    length of `primary`; -1: there is no .primary file
 *     16      float64  lag in ms, negative: never in sync
 *     24      float64  the primary's clock at that lag, ms since 1970
 *     32      bytes    answer: content of the virtual file that is being resumed (64)
 *     96      bytes    primary: content of .primary, newline included (256)
 *     352     uint32   requests of each kind that the mount has served, by FUSE opcode (64 words)
 *     608     int32    halt lock: 0 none, 1 held, 2 given back, but somebody may still be in a transaction
 *     612     int32    length of `halted`
 *     616     float64  the bytes of its -wal that the primary has acknowledged
 *     624     bytes    halted: the database that this replica may write (4096)
 *     4720    int32    how often a name has come, gone or changed, but those of journals; the mount's thread counts
 *     4724    int32    1: whatever may be passed through is; 0: the mount's thread serves some files, or all
 *     4728    int64    inodes of the databases whose write lock is lent, 0 for none (64 words)
 */
import type { Role } from '../engine/core/context.ts';

const ANSWER_OFFSET = 32;
const ANSWER_BYTES_MAX = 64;
const PRIMARY_OFFSET = 96;
const PRIMARY_BYTES_MAX = 256;
const COUNTS_OFFSET = PRIMARY_OFFSET + PRIMARY_BYTES_MAX;
const COUNTS = 64;
const HALT_OFFSET = COUNTS_OFFSET + 4 * COUNTS;
const HALTED_OFFSET = HALT_OFFSET + 16;
const HALTED_BYTES_MAX = 4096;
const NAMES_OFFSET = HALTED_OFFSET + HALTED_BYTES_MAX;
const LENT_OFFSET = NAMES_OFFSET + 8;
const LENT_MAX = 64;
const BYTES = LENT_OFFSET + 8 * LENT_MAX;
const HALT_STATES = ['none', 'open', 'closing'] as const;

/** none: it is read-only. open: apps may write it. closing: they may only end what they have begun. */
export type HaltState = (typeof HALT_STATES)[number];

export class SharedState {
  readonly buffer: SharedArrayBuffer;
  /** Written by the mount's thread alone. They begin again at zero after 2^32. */
  readonly requestCounts: Uint32Array;
  readonly #ints: Int32Array;
  readonly #floats: Float64Array;
  readonly #bytes: Uint8Array;
  readonly #halt: Int32Array;
  readonly #haltWal: Float64Array;
  readonly #names: Int32Array;
  readonly #lent: BigInt64Array;

  constructor(buffer = new SharedArrayBuffer(BYTES)) {
    this.buffer = buffer;
    this.#ints = new Int32Array(buffer, 0, 4);
    this.#floats = new Float64Array(buffer, 16, 2);
    this.#bytes = new Uint8Array(buffer);
    this.#halt = new Int32Array(buffer, HALT_OFFSET, 2);
    this.#haltWal = new Float64Array(buffer, HALT_OFFSET + 8, 1);
    this.#names = new Int32Array(buffer, NAMES_OFFSET, 2);
    this.#lent = new BigInt64Array(buffer, LENT_OFFSET, LENT_MAX);
    this.requestCounts = new Uint32Array(buffer, COUNTS_OFFSET, COUNTS);
  }

  get role(): Role {
    return Atomics.load(this.#ints, 0) === 0 ? 'primary' : 'replica';
  }

  set role(role: Role) {
    Atomics.store(this.#ints, 0, role === 'primary' ? 0 : 1);
  }

  /** Another number than before when a database, a -wal or a -shm may have been made, replaced or removed since. */
  get names(): number {
    return Atomics.load(this.#names, 0);
  }

  /** To be called before the kernel is answered: then nobody has yet used what is new. */
  nameChanged(): void {
    Atomics.add(this.#names, 0, 1);
  }

  /** Whether the kernel serves by itself each file that it may. Written by the mount's thread. */
  get passesAll(): boolean {
    return Atomics.load(this.#names, 1) === 1;
  }

  set passesAll(isSo: boolean) {
    Atomics.store(this.#names, 1, isSo ? 1 : 0);
  }

  get engineThread(): number {
    return Atomics.load(this.#ints, 1);
  }

  set engineThread(tid: number) {
    Atomics.store(this.#ints, 1, tid);
  }

  /** Written by the engine just before it resumes an open of a virtual file. */
  get answer(): Buffer {
    const length = Atomics.load(this.#ints, 2);
    return Buffer.from(this.#bytes.slice(ANSWER_OFFSET, ANSWER_OFFSET + length));
  }

  setAnswer(text: string): void {
    const bytes = Buffer.from(text, 'latin1').subarray(0, ANSWER_BYTES_MAX);
    this.#bytes.set(bytes, ANSWER_OFFSET);
    Atomics.store(this.#ints, 2, bytes.length);
  }

  /** Content of `.primary`; undefined when there is to be no such file. */
  get primary(): Buffer | undefined {
    const length = Atomics.load(this.#ints, 3);
    if (length < 0) return undefined;
    return Buffer.from(this.#bytes.slice(PRIMARY_OFFSET, PRIMARY_OFFSET + length));
  }

  setPrimary(hostname: string | undefined): void {
    Atomics.store(this.#ints, 3, -1);
    if (hostname === undefined) return;
    const bytes = Buffer.from(`${hostname}\n`).subarray(0, PRIMARY_BYTES_MAX);
    this.#bytes.set(bytes, PRIMARY_OFFSET);
    Atomics.store(this.#ints, 3, bytes.length);
  }

  /** Whether apps may write this database although the node is a replica. */
  haltOf(database: string): HaltState {
    const state = HALT_STATES[Atomics.load(this.#halt, 0)];
    if (state === 'none' || database.length !== Atomics.load(this.#halt, 1)) return 'none';
    const name = this.#bytes.subarray(HALTED_OFFSET, HALTED_OFFSET + database.length);
    return Buffer.from(name).equals(Buffer.from(database, 'latin1')) ? state : 'none';
  }

  /** Written by the engine. One database at a time. */
  setHalt(state: HaltState, database = ''): void {
    if (state === 'open') {
      const bytes = Buffer.from(database, 'latin1');
      if (bytes.length > HALTED_BYTES_MAX) throw new RangeError('a name longer than a path');
      this.#bytes.set(bytes, HALTED_OFFSET);
      Atomics.store(this.#halt, 1, bytes.length);
    }
    Atomics.store(this.#halt, 0, HALT_STATES.indexOf(state));
  }

  /** Up to here its -wal is acknowledged, and must not be written over. */
  get haltWalBytes(): number {
    return this.#haltWal[0];
  }

  set haltWalBytes(bytes: number) {
    this.#haltWal[0] = bytes;
  }

  /** Whether the write lock of the database with this backing inode is held for another node. */
  isLent(inode: () => bigint | undefined): boolean {
    if (this.#lent.every((_, i) => Atomics.load(this.#lent, i) === 0n)) return false;
    const wanted = inode();
    return (
      wanted !== undefined && this.#lent.some((_, i) => Atomics.load(this.#lent, i) === wanted)
    );
  }

  /** Notes that it is, or is no longer. false when so many are that there is no room. */
  setLent(inode: bigint, isSo: boolean): boolean {
    const at = this.#lent.indexOf(isSo ? 0n : inode);
    if (at >= 0) Atomics.store(this.#lent, at, isSo ? inode : 0n);
    return at >= 0;
  }

  /** ms behind the primary; undefined before the first sync. */
  get lagMs(): number | undefined {
    return this.#floats[0] < 0 ? undefined : this.#floats[0];
  }

  /** The primary's clock when the lag was measured, ms since 1970. */
  get lagClockMs(): number {
    return this.#floats[1];
  }

  setLag(lagMs: number | undefined, primaryClockMs: number): void {
    this.#floats[0] = lagMs ?? -1;
    this.#floats[1] = primaryClockMs;
  }
}
