/**
 * The first request: what the kernel offers and what is taken of it.
 *
 * fuse_init_in:  0 u32 major, 4 u32 minor, 8 u32 max_readahead, 12 u32 flags, 16 u32 flags2 (7.36)
 * fuse_init_out (64 bytes):
 *    0  u32 major            16  u16 max_background         28  u16 max_pages
 *    4  u32 minor            18  u16 congestion_threshold   30  u16 map_alignment
 *    8  u32 max_readahead    20  u32 max_write              32  u32 flags2
 *   12  u32 flags            24  u32 time_gran (ns)         36  u32 max_stack_depth
 */
import { MAX_TRANSFER } from './protocol.ts';

export const INIT_OUT = 64;

/** The newest minor version whose structures are known here. */
const MINOR = 40;

const ASYNC_READ = 1 << 0;
const ATOMIC_O_TRUNC = 1 << 3;
const BIG_WRITES = 1 << 5;
const DO_READDIRPLUS = 1 << 13;
const READDIRPLUS_AUTO = 1 << 14;
const ASYNC_DIO = 1 << 15;
const PARALLEL_DIROPS = 1 << 18;
const MAX_PAGES = 1 << 22;
const HANDLE_KILLPRIV_V2 = 1 << 28;
const INIT_EXT = 1 << 30;
/** Bit 37 of all flags. */
const PASSTHROUGH2 = 1 << 5;

/**
 * Not taken, on purpose: POSIX_LOCKS and FLOCK_LOCKS (the kernel keeps locks by itself, and rightly
 * on one machine), WRITEBACK_CACHE (excludes passthrough), EXPORT_SUPPORT (ids do not last).
 */
const WANTED =
  ASYNC_READ |
  ATOMIC_O_TRUNC |
  BIG_WRITES |
  DO_READDIRPLUS |
  READDIRPLUS_AUTO |
  ASYNC_DIO |
  PARALLEL_DIROPS |
  MAX_PAGES |
  HANDLE_KILLPRIV_V2 |
  INIT_EXT;

/** A file system may be stacked on one that is itself stacked on another (overlayfs on ext4). */
const MAX_STACK_DEPTH = 2;

export interface Offer {
  readonly major: number;
  readonly minor: number;
  readonly maxReadahead: number;
  readonly flags: number;
  readonly flags2: number;
}

export interface Agreement extends Offer {
  /** Whether files may be handed over to the kernel. */
  readonly passthrough: boolean;
  /** Whether the kernel leaves it to us to clear set-user-id bits (7.33). */
  readonly killsPrivileges: boolean;
}

/** What to answer to an offer of major version 7. */
export function agree(offer: Offer, wantsPassthrough: boolean): Agreement {
  const flags = offer.flags & WANTED;
  const offered2 = (offer.flags & INIT_EXT) === 0 ? 0 : offer.flags2;
  const passthrough = wantsPassthrough && (offered2 & PASSTHROUGH2) !== 0;
  return {
    major: 7,
    minor: Math.min(offer.minor, MINOR),
    maxReadahead: offer.maxReadahead,
    flags,
    flags2: passthrough ? PASSTHROUGH2 : 0,
    passthrough,
    killsPrivileges: (flags & HANDLE_KILLPRIV_V2) !== 0,
  };
}

/** Puts a fuse_init_out at the start of `out`. */
export function putInitOut(out: Uint32Array, agreement: Agreement): void {
  out.fill(0, 0, INIT_OUT / 4);
  out[0] = agreement.major;
  out[1] = agreement.minor;
  out[2] = agreement.maxReadahead;
  out[3] = agreement.flags;
  // max_background and congestion_threshold: 0 leaves the kernel's own.
  out[5] = MAX_TRANSFER;
  out[6] = 1;
  out[7] = MAX_TRANSFER / 4096;
  out[8] = agreement.flags2;
  out[9] = agreement.passthrough ? MAX_STACK_DEPTH : 0;
}
