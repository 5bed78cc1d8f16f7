/**
 * The payloads of frames. docs/protocol.md has them as tables; position: u64 TXID, u64 checksum; name: u16 length
 * and bytes; text: u16 length and UTF-8; positions: u32 count, then name and position each.
 */
import { LiteFsError } from '../errors.ts';
import type { PeerFacts } from '../lease/judge.ts';
import type { Position } from '../ltx/position.ts';
import { PayloadReader, PayloadWriter } from './bytes.ts';
import type { Trouble } from './parts.ts';

export const PROTOCOL_VERSION = 1;
export const NONCE_BYTES = 32;
const MAGIC = 0x4c46534c;
/** Magic and version. */
const HELLO_START_BYTES = 6;
/** In a SUBSCRIBE. */
const PATTERNS_MAX = 10_000;
/** A node has not more databases than this; also what bounds a list of positions. */
const DATABASES_MAX = 1_000_000;

/** In a TROUBLES: it has to fit into a frame. */
const TROUBLES_MAX = 100;
/** In `features`: the sender can do zstd. */
export const FEATURE_ZSTD = 1;
/** In `features`: the sender knows the halt lock. */
export const FEATURE_HALT = 2;
/** In `features`: the sender knows TROUBLES. */
export const FEATURE_TROUBLES = 4;
/** In `features`: the sender knows VERIFY and VERIFIED. */
export const FEATURE_VERIFY = 8;
/** In `features`: the sender knows ANSWERED. */
export const FEATURE_ANSWERED = 16;
/** In `features`: the sender knows OWNERSHIP. */
export const FEATURE_OWNERSHIP = 32;

export interface Hello extends PeerFacts {
  readonly features: number;
  readonly nonce: Buffer;
  /** The cluster's primary, as far as the sender knows; '' when it does not. */
  readonly primaryHostname: string;
  readonly advertiseUrl: string;
  /**
   * The URL of the primary's proxy as far as the sender knows, or `:port` of the host at which the primary is
   * reached; '' when there is none.
   */
  readonly primaryProxy: string;
  /** Of the program; '' from one that does not say it. */
  readonly release: string;
}

/** magic u32, version u16, features u32, role u8, node id u64, cluster id u64, term u64, nonce, five texts. */
export function encodeHello(hello: Hello): Buffer {
  return new PayloadWriter()
    .u32(MAGIC)
    .u16(PROTOCOL_VERSION)
    .u32(hello.features)
    .u8(hello.role === 'primary' ? 1 : 2)
    .u64(BigInt(`0x${hello.nodeId}`))
    .u64(hello.clusterId === '' ? 0n : BigInt(`0x${hello.clusterId}`))
    .u64(hello.term)
    .bytes(hello.nonce)
    .text(hello.hostname)
    .text(hello.primaryHostname)
    .text(hello.advertiseUrl)
    .text(hello.primaryProxy)
    .text(hello.release)
    .done();
}

/** The version of the protocol that a HELLO begins with; that much is the same in all of them. */
export function helloVersion(payload: Buffer): number {
  const reader = new PayloadReader(payload);
  if (reader.u32() !== MAGIC) throw new LiteFsError('PROTOCOL', 'the peer is no litefs-lite node');
  return reader.u16();
}

/** Throws PEER_REJECTED for another version of the protocol. */
export function decodeHello(payload: Buffer): Hello {
  const version = helloVersion(payload);
  if (version !== PROTOCOL_VERSION) {
    throw new LiteFsError(
      'PEER_REJECTED',
      `the peer speaks version ${version} of the protocol, this node version ${PROTOCOL_VERSION}`,
      { hint: 'Install the same release on all nodes.' },
    );
  }
  const reader = new PayloadReader(payload);
  reader.bytes(HELLO_START_BYTES);
  const features = reader.u32();
  const role = reader.u8();
  if (role !== 1 && role !== 2) throw new LiteFsError('PROTOCOL', `a HELLO with role ${role}`);
  const id = () => reader.bigU64().toString(16).padStart(16, '0');
  const nodeId = id();
  const clusterId = id();
  return {
    features,
    role: role === 1 ? 'primary' : 'replica',
    nodeId,
    clusterId: /^0+$/.test(clusterId) ? '' : clusterId,
    term: reader.u64(),
    nonce: Buffer.from(reader.bytes(NONCE_BYTES)),
    hostname: reader.text(),
    primaryHostname: reader.text(),
    advertiseUrl: reader.text(),
    primaryProxy: reader.text(),
    release: reader.text(),
  };
}

/** text code, text sentence. */
export function encodeReject(code: string, text: string): Buffer {
  return new PayloadWriter().text(code).text(text).done();
}

export function decodeReject(payload: Buffer): { code: string; text: string } {
  const reader = new PayloadReader(payload);
  return { code: reader.text(), text: reader.text() };
}

export interface Subscription {
  readonly positions: Map<string, Position>;
  /** The databases that are wanted; undefined: all. */
  readonly patterns: readonly string[] | undefined;
}

/** positions, u8 whether patterns follow, u32 count, texts. */
export function encodeSubscription(subscription: Subscription): Buffer {
  const { positions, patterns } = subscription;
  const writer = new PayloadWriter().bytes(encodePositions(positions)).u8(patterns ? 1 : 0);
  if (patterns) {
    writer.u32(patterns.length);
    for (const pattern of patterns) writer.text(pattern);
  }
  return writer.done();
}

export function decodeSubscription(payload: Buffer): Subscription {
  const reader = new PayloadReader(payload);
  const positions = readPositions(reader);
  if (reader.u8() === 0) return { positions, patterns: undefined };
  const count = reader.u32();
  if (count > PATTERNS_MAX) throw new LiteFsError('PROTOCOL', `a list of ${count} patterns`);
  return { positions, patterns: Array.from({ length: count }, () => reader.exactText()) };
}

/** positions. SUBSCRIBED and ACK. */
export function encodePositions(positions: Iterable<[string, Position]>): Buffer {
  const list = [...positions];
  const writer = new PayloadWriter().u32(list.length);
  for (const [name, position] of list) writer.name(name).position(position);
  return writer.done();
}

export function decodePositions(payload: Buffer): Map<string, Position> {
  const reader = new PayloadReader(payload);
  const positions = readPositions(reader);
  reader.end();
  return positions;
}

function readPositions(reader: PayloadReader): Map<string, Position> {
  const count = reader.u32();
  if (count > DATABASES_MAX) throw new LiteFsError('PROTOCOL', `a list of ${count} databases`);
  const positions = new Map<string, Position>();
  for (let i = 0; i < count; i++) positions.set(reader.name(), reader.position());
  return positions;
}

export interface Heartbeat {
  /** ms since 1970. */
  readonly clockMs: number;
  /** How far the sender itself is behind the primary, ms; 0 on the primary. */
  readonly lagMs: number;
  /** What has changed since the heartbeat before. */
  readonly positions: Map<string, Position>;
}

/** u64 clock, u32 lag, positions. */
export function encodeHeartbeat(heartbeat: Heartbeat): Buffer {
  return new PayloadWriter()
    .u64(heartbeat.clockMs)
    .u32(Math.min(0xffffffff, Math.round(heartbeat.lagMs)))
    .bytes(encodePositions(heartbeat.positions))
    .done();
}

export function decodeHeartbeat(payload: Buffer): Heartbeat {
  const reader = new PayloadReader(payload);
  return { clockMs: reader.u64(), lagMs: reader.u32(), positions: readPositions(reader) };
}

/** u32 count, then name, text hostname, text reason each: TROUBLES. The first of them, when there are too many. */
export function encodeTroubles(troubles: readonly Trouble[]): Buffer {
  const list = troubles.slice(0, TROUBLES_MAX);
  const writer = new PayloadWriter().u32(list.length);
  for (const { database, hostname, reason } of list) {
    writer.name(database).text(hostname).text(reason);
  }
  return writer.done();
}

export function decodeTroubles(payload: Buffer): Trouble[] {
  const reader = new PayloadReader(payload);
  const count = reader.u32();
  if (count > TROUBLES_MAX) throw new LiteFsError('PROTOCOL', `a list of ${count} troubles`);
  return Array.from({ length: count }, () => ({
    database: reader.name(),
    hostname: reader.text(),
    reason: reader.text(),
  }));
}

/** name, then bytes: ENTRY, ENTRY_CHUNK, PAGES. */
export function encodeNamed(database: string, bytes: Uint8Array): Buffer[] {
  return [
    new PayloadWriter().name(database).done(),
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
  ];
}

export function decodeNamed(payload: Buffer): { database: string; bytes: Buffer } {
  const reader = new PayloadReader(payload);
  return { database: reader.name(), bytes: reader.rest() };
}

/** The same of a payload that came in pieces: its bytes are left in them. */
export function decodeNamedParts(payload: readonly Buffer[]): {
  database: string;
  parts: Buffer[];
} {
  let head: Buffer = Buffer.alloc(0);
  let used = 0;
  const isCut = () => head.length < 2 || head.length < 2 + head.readUInt16BE();
  while (used < payload.length && isCut()) {
    head = used === 0 ? payload[0] : Buffer.concat([head, payload[used]]);
    used++;
  }
  const { database, bytes } = decodeNamed(head);
  return { database, parts: [bytes, ...payload.slice(used)] };
}

/** How many there are in all the pieces. */
export function bytesOf(parts: readonly Uint8Array[]): number {
  let bytes = 0;
  for (const part of parts) bytes += part.length;
  return bytes;
}

/** name, u64 length: ENTRY_BEGIN. */
export function encodeEntryBegin(database: string, length: number): Buffer {
  return new PayloadWriter().name(database).u64(length).done();
}

export function decodeEntryBegin(payload: Buffer): { database: string; length: number } {
  const reader = new PayloadReader(payload);
  return { database: reader.name(), length: reader.u64() };
}

/** name, u8 last, u32 page size, bytes: CHECKSUMS. */
export function encodeChecksums(
  database: string,
  part: { last: boolean; pageSize: number; bytes: Uint8Array },
): Buffer {
  return new PayloadWriter()
    .name(database)
    .u8(part.last ? 1 : 0)
    .u32(part.pageSize)
    .bytes(part.bytes)
    .done();
}

export function decodeChecksums(payload: Buffer) {
  const reader = new PayloadReader(payload);
  const database = reader.name();
  const last = reader.u8() === 1;
  return { database, last, pageSize: reader.u32(), bytes: reader.rest() };
}

export interface ResyncBegin {
  readonly database: string;
  readonly position: Position;
  readonly pageSize: number;
  readonly pageCount: number;
  /** The replica's state is not part of the sender's history. */
  readonly diverged: boolean;
  /** For the log. */
  readonly reason: string;
}

/** name, position, u32 page size, u32 pages, u8 diverged, text reason. */
export function encodeResyncBegin(begin: ResyncBegin): Buffer {
  return new PayloadWriter()
    .name(begin.database)
    .position(begin.position)
    .u32(begin.pageSize)
    .u32(begin.pageCount)
    .u8(begin.diverged ? 1 : 0)
    .text(begin.reason)
    .done();
}

export function decodeResyncBegin(payload: Buffer): ResyncBegin {
  const reader = new PayloadReader(payload);
  return {
    database: reader.name(),
    position: reader.position(),
    pageSize: reader.u32(),
    pageCount: reader.u32(),
    diverged: reader.u8() === 1,
    reason: reader.text(),
  };
}

/** name, position: RESYNC_END. */
export function encodeNamedPosition(database: string, position: Position): Buffer {
  return new PayloadWriter().name(database).position(position).done();
}

export function decodeNamedPosition(payload: Buffer): { database: string; position: Position } {
  const reader = new PayloadReader(payload);
  return { database: reader.name(), position: reader.position() };
}

/** name, position, u8 pages: REQUEST. `pages`: a resync is wanted, not what the log has. */
export function encodeRequest(database: string, position: Position, pages: boolean): Buffer {
  return new PayloadWriter()
    .name(database)
    .position(position)
    .u8(pages ? 1 : 0)
    .done();
}

export function decodeRequest(payload: Buffer) {
  const reader = new PayloadReader(payload);
  return { database: reader.name(), position: reader.position(), pages: reader.u8() === 1 };
}

/** name, u8 diverged: DROPPED. */
export function encodeDropped(database: string, diverged: boolean): Buffer {
  return new PayloadWriter()
    .name(database)
    .u8(diverged ? 1 : 0)
    .done();
}

export function decodeDropped(payload: Buffer): { database: string; diverged: boolean } {
  const reader = new PayloadReader(payload);
  return { database: reader.name(), diverged: reader.u8() === 1 };
}

export interface Halt {
  readonly database: string;
  /** By which the lock is given back. */
  readonly id: number;
  /** How long a writer on the primary is waited for. */
  readonly waitMs: number;
}

/** name, u64 id, u32 wait: HALT. */
export function encodeHalt({ database, id, waitMs }: Halt): Buffer {
  return new PayloadWriter().name(database).u64(id).u32(waitMs).done();
}

export function decodeHalt(payload: Buffer): Halt {
  const reader = new PayloadReader(payload);
  return { database: reader.name(), id: reader.u64(), waitMs: reader.u32() };
}

export interface Halted {
  readonly database: string;
  readonly id: number;
  /** Where the database stands as long as the lock is held; 0/0 with an error. */
  readonly position: Position;
  /** Why it is not held; '' when it is. */
  readonly error: string;
}

/** name, u64 id, position, text error: HALTED. */
export function encodeHalted({ database, id, position, error }: Halted): Buffer {
  return new PayloadWriter().name(database).u64(id).position(position).text(error).done();
}

export function decodeHalted(payload: Buffer): Halted {
  const reader = new PayloadReader(payload);
  return {
    database: reader.name(),
    id: reader.u64(),
    position: reader.position(),
    error: reader.text(),
  };
}

/** name, u64 id: UNHALT, VERIFY. */
export function encodeNamedId(database: string, id: number): Buffer {
  return new PayloadWriter().name(database).u64(id).done();
}

export function decodeNamedId(payload: Buffer): { database: string; id: number } {
  const reader = new PayloadReader(payload);
  return { database: reader.name(), id: reader.u64() };
}

export interface Committed {
  readonly database: string;
  /** Where the transaction has led; 0/0 with an error. */
  readonly position: Position;
  /** Why it is not committed; '' when it is. */
  readonly error: string;
}

/** name, position, text error: COMMITTED. */
export function encodeCommitted({ database, position, error }: Committed): Buffer {
  return new PayloadWriter().name(database).position(position).text(error).done();
}

export function decodeCommitted(payload: Buffer): Committed {
  const reader = new PayloadReader(payload);
  return { database: reader.name(), position: reader.position(), error: reader.text() };
}

/** name alone: CHECKSUMS_ASK, ENTRY_END. */
export function encodeName(database: string): Buffer {
  return new PayloadWriter().name(database).done();
}

export function decodeName(payload: Buffer): string {
  return new PayloadReader(payload).name();
}
