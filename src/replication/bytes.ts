/** Building and reading payloads: integers big-endian, text with a u16 length before it. */
import { LiteFsError } from '../errors.ts';
import type { Position } from '../ltx/position.ts';
import { nameFault } from '../mount/names.ts';
import { plainText } from '../plain-text.ts';

const TEXT_BYTES_MAX = 4096;
/** Of one that is refused, in characters. */
const NAME_SHOWN_MAX = 100;

export class PayloadWriter {
  readonly #parts: Buffer[] = [];

  u8(value: number): this {
    return this.bytes(Buffer.from([value]));
  }

  u16(value: number): this {
    const part = Buffer.allocUnsafe(2);
    part.writeUInt16BE(value);
    return this.bytes(part);
  }

  u32(value: number): this {
    const part = Buffer.allocUnsafe(4);
    part.writeUInt32BE(value);
    return this.bytes(part);
  }

  u64(value: number | bigint): this {
    const part = Buffer.allocUnsafe(8);
    part.writeBigUInt64BE(BigInt(value));
    return this.bytes(part);
  }

  position(position: Position): this {
    return this.u64(position.txid).u64(position.checksum);
  }

  /** UTF-8. */
  text(value: string): this {
    const bytes = Buffer.from(value.slice(0, TEXT_BYTES_MAX / 4));
    return this.u16(bytes.length).bytes(bytes);
  }

  /** A path in the mount: a byte string. */
  name(value: string): this {
    const bytes = Buffer.from(value, 'latin1');
    return this.u16(bytes.length).bytes(bytes);
  }

  bytes(value: Uint8Array): this {
    this.#parts.push(Buffer.from(value.buffer, value.byteOffset, value.byteLength));
    return this;
  }

  done(): Buffer {
    return this.#parts.length === 1 ? this.#parts[0] : Buffer.concat(this.#parts);
  }
}

/** Every method throws PROTOCOL when the payload is too short or a value out of range. */
export class PayloadReader {
  readonly #payload: Buffer;
  #at = 0;

  constructor(payload: Buffer) {
    this.#payload = payload;
  }

  u8(): number {
    return this.bytes(1)[0];
  }

  u16(): number {
    return this.bytes(2).readUInt16BE();
  }

  u32(): number {
    return this.bytes(4).readUInt32BE();
  }

  /** At most 2^53. */
  u64(): number {
    const value = Number(this.bigU64());
    if (!Number.isSafeInteger(value)) throw damaged('has a number out of range');
    return value;
  }

  bigU64(): bigint {
    return this.bytes(8).readBigUInt64BE();
  }

  position(): Position {
    return { txid: this.u64(), checksum: this.bigU64() };
  }

  /** For people: what could do more to a terminal or a log than be read is escaped. */
  text(): string {
    return plainText(this.exactText());
  }

  /** As it was written. */
  exactText(): string {
    return this.#limited().toString('utf8');
  }

  /** The one way by which a name comes from a peer: a path in the mount that a database can have (mount/names.ts). */
  name(): string {
    const name = this.#limited().toString('latin1');
    const fault = nameFault(name);
    if (fault === undefined) return name;
    const shown = plainText(JSON.stringify(name.slice(0, NAME_SHOWN_MAX)));
    throw damaged(`has ${shown} for the name of a database, which ${fault}`);
  }

  bytes(length: number): Buffer {
    if (this.#at + length > this.#payload.length) throw damaged('is too short');
    this.#at += length;
    return this.#payload.subarray(this.#at - length, this.#at);
  }

  /** What is left. */
  rest(): Buffer {
    return this.bytes(this.#payload.length - this.#at);
  }

  /** Asserts that nothing is left. */
  end(): void {
    if (this.#at !== this.#payload.length) throw damaged('is too long');
  }

  #limited(): Buffer {
    const length = this.u16();
    if (length > TEXT_BYTES_MAX) throw damaged('has a text that is too long');
    return this.bytes(length);
  }
}

function damaged(what: string): LiteFsError {
  return new LiteFsError('PROTOCOL', `a frame ${what}`);
}
