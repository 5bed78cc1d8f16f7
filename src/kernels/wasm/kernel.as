/**
 * The inner loops that JavaScript is too slow for, in AssemblyScript: CRC-64/ISO and LZ4 blocks. Built by scripts/build-kernel.sh into ../kernel-bytes.ts; no memory but what
 * the caller passes offsets into.
 *
 * CRC-64/ISO needs no tables: its polynomial is x^64 + x^4 + x^3 + x + 1, so multiplying by x^64 is four
 * shifts and as many for the four bits that overflow. Bits are reflected: bit 63 stands for x^0, bit 0 for x^63.
 */

/** What overflowed, a polynomial of low degree, times x^64 mod P. */
@inline
function reduce(v: u64): u64 {
  return v ^ (v >> 1) ^ (v >> 3) ^ (v >> 4);
}

@inline
function timesX64(s: u64): u64 {
  return reduce(s) ^ reduce((s << 63) ^ (s << 61) ^ (s << 60));
}

@inline
function crcByte(s: u64, byte: u64): u64 {
  const mixed = s ^ byte;
  return (mixed >> 8) ^ reduce(mixed << 56);
}

/** The CRC state after `length` bytes at `at`; begins and ends inverted by the caller. */
export function crc64(state: u64, at: usize, length: usize): u64 {
  const end = at + length;
  const wide = at + (length & ~7);
  let s = state;
  for (; at < wide; at += 8) s = timesX64(s ^ load<u64>(at));
  for (; at < end; at++) s = crcByte(s, load<u8>(at));
  return s;
}

/** Copies eight bytes at a time, so up to seven too many: every buffer has room for that behind it. */
@inline
function copy(to: usize, from: usize, length: usize): void {
  const end = to + length;
  while (to < end) {
    store<u64>(to, load<u64>(from));
    to += 8;
    from += 8;
  }
}

const HASH_BITS: u32 = 13;
const MIN_MATCH: usize = 4;
/** The format wants the last five bytes as literals, and no match to begin in the last twelve. */
const END_LITERALS: usize = 5;
const MATCH_LIMIT: usize = 12;

@inline
function hash(word: u32): usize {
  return <usize>((word * 2654435761) >> (32 - HASH_BITS)) << 2;
}

@inline
function putLength(out: usize, rest: usize): usize {
  while (rest >= 255) {
    store<u8>(out++, 255);
    rest -= 255;
  }
  store<u8>(out++, <u8>rest);
  return out;
}

/**
 * Compresses `length` bytes at `from` into an LZ4 block at `to`; returns its size. `table`: 4 << 13 bytes of scratch.
 * `to` must have room for length + length / 255 + 16.
 */
export function lz4Compress(from: usize, length: usize, to: usize, table: usize): usize {
  memory.fill(table, 0, 4 << HASH_BITS);
  const end = from + length;
  let out = to;
  let anchor = from;
  let at = from + 1;
  if (length > MATCH_LIMIT) {
    const limit = end - MATCH_LIMIT;
    const matchEnd = end - END_LITERALS;
    let misses: usize = 0;
    while (at < limit) {
      const word = load<u32>(at);
      const slot = table + hash(word);
      const candidate = from + <usize>load<u32>(slot);
      store<u32>(slot, <u32>(at - from));
      if (candidate >= at || at - candidate > 65535 || load<u32>(candidate) != word) {
        at += 1 + (misses++ >> 5);
        continue;
      }
      misses = 0;
      let match = candidate;
      while (at > anchor && match > from && load<u8>(at - 1) == load<u8>(match - 1)) {
        at--;
        match--;
      }
      let size = MIN_MATCH;
      while (at + size + 8 <= matchEnd && load<u64>(at + size) == load<u64>(match + size)) size += 8;
      while (at + size < matchEnd && load<u8>(at + size) == load<u8>(match + size)) size++;
      const literals = at - anchor;
      const token = out++;
      if (literals >= 15) out = putLength(out, literals - 15);
      copy(out, anchor, literals);
      out += literals;
      store<u16>(out, <u16>(at - match));
      out += 2;
      const extra = size - MIN_MATCH;
      if (extra >= 15) out = putLength(out, extra - 15);
      const high: usize = literals >= 15 ? 15 : literals;
      const low: usize = extra >= 15 ? 15 : extra;
      store<u8>(token, <u8>((high << 4) | low));
      at += size;
      anchor = at;
    }
  }
  const literals = end - anchor;
  if (literals >= 15) {
    store<u8>(out++, 0xf0);
    out = putLength(out, literals - 15);
  } else {
    store<u8>(out++, <u8>(literals << 4));
  }
  copy(out, anchor, literals);
  return out + literals - to;
}

/** Decompresses a block into at most `room` bytes at `to`; the size, or -1 when it is damaged or larger. */
export function lz4Decompress(from: usize, length: usize, to: usize, room: usize): i32 {
  const end = from + length;
  const outEnd = to + room;
  let out = to;
  while (from < end) {
    const token = <usize>load<u8>(from++);
    let literals = token >> 4;
    if (literals == 15) {
      let more: usize = 255;
      while (more == 255) {
        if (from >= end) return -1;
        more = <usize>load<u8>(from++);
        literals += more;
        if (literals > room) return -1;
      }
    }
    if (literals > end - from || literals > outEnd - out) return -1;
    copy(out, from, literals);
    from += literals;
    out += literals;
    if (from == end) break;
    if (end - from < 2) return -1;
    const offset = <usize>load<u16>(from);
    from += 2;
    if (offset == 0 || offset > out - to) return -1;
    let size = token & 15;
    if (size == 15) {
      let more: usize = 255;
      while (more == 255) {
        if (from >= end) return -1;
        more = <usize>load<u8>(from++);
        size += more;
        if (size > room) return -1;
      }
    }
    size += MIN_MATCH;
    if (size > outEnd - out) return -1;
    let match = out - offset;
    if (offset >= 8) {
      copy(out, match, size);
      out += size;
    } else {
      for (const stop = out + size; out < stop; out++) store<u8>(out, load<u8>(match++));
    }
  }
  return <i32>(out - to);
}
