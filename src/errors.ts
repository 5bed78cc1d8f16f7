/**
 * Every failure of the outside world that the program can name: one table, one class.
 *
 * An error carries a code (stable, for programs and documents), a sentence that says what happened
 * to which file or peer, and a hint that says what to do. A bug is not in this table: it is an
 * ordinary Error or a failed `assert` and ends the process loudly.
 */

/** What is known of each code: the exit status of a command that ends with it. See `man sysexits`. */
export const ERROR_CODES = {
  /** Wrong flags or arguments. */
  USAGE: { exitStatus: 64 },
  /** A config file that is absent, malformed or contradicts itself. */
  CONFIG: { exitStatus: 78 },
  /** /dev/fuse is absent, may not be opened, or mount(2) refused. */
  FUSE_UNAVAILABLE: { exitStatus: 69 },
  /** The mount point is missing, not empty, or in use. */
  MOUNT_POINT: { exitStatus: 73 },
  /** A process still holds files of an earlier mount open for writing. */
  OLD_HANDLES: { exitStatus: 75 },
  /** The data directory cannot be used: permissions, another daemon, a file that makes no sense. */
  DATA_DIR: { exitStatus: 73 },
  /** The disk is full or failed. */
  DISK: { exitStatus: 74 },
  /** A listening address is taken or may not be bound. */
  LISTEN: { exitStatus: 69 },
  /** The peer cannot be reached or went away. */
  PEER_UNREACHABLE: { exitStatus: 69 },
  /** The peer refused us, or we refused it: secret, cluster, term, role, version. */
  PEER_REJECTED: { exitStatus: 77 },
  /** The peer broke the protocol. */
  PROTOCOL: { exitStatus: 76 },
  /** An LTX file is damaged or not what its name says. */
  LTX_CORRUPT: { exitStatus: 65 },
  /** A database, -wal or -journal that cannot be understood. */
  DATABASE_CORRUPT: { exitStatus: 65 },
  /** A link, a FIFO, a socket, a device or a directory is where a file of a database belongs. */
  NOT_A_FILE: { exitStatus: 73 },
  /** A database cannot be captured or applied for now (locked by someone, say). */
  DATABASE_BUSY: { exitStatus: 75 },
  /** There is no such database here. */
  DATABASE_NOT_FOUND: { exitStatus: 66 },
  /** No snapshot or increment makes the state that was asked for. */
  RESTORE_POINT: { exitStatus: 66 },
  /** A replica's content does not match the primary's. */
  CHECKSUM_MISMATCH: { exitStatus: 65 },
  /** No running node answers at the given URL. */
  NODE_UNREACHABLE: { exitStatus: 69 },
  /** The node runs, but cannot do this in its present role or state. */
  WRONG_STATE: { exitStatus: 75 },
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/** A failure with a name. `message` says what happened to what; `hint` what to do about it. */
export class LiteFsError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'LiteFsError';
    this.code = code;
    this.hint = options.hint;
  }

  get exitStatus(): number {
    return ERROR_CODES[this.code].exitStatus;
  }
}

/** An error of the system (disk full, a file that is gone) or one with a code, as opposed to a bug. */
export function isOutsideFault(error: unknown): boolean {
  return error instanceof Error && ('errno' in error || error instanceof LiteFsError);
}

/** For the end of a task whose faults of the outside world are met elsewhere. Throws again what is a bug. */
export function throwBug(error: unknown): void {
  if (error !== undefined && !isOutsideFault(error)) throw error;
}

/** Whether it is the disk that refuses, or what lies on it: no fault of the database, and mended from outside. */
export function isDiskFault(error: unknown): boolean {
  if (isNotAFile(error)) return true;
  return error instanceof LiteFsError ? error.code === 'DISK' : isOutsideFault(error);
}

/** Whether something else than a file is in the way of one. */
export function isNotAFile(error: unknown): error is LiteFsError {
  return error instanceof LiteFsError && error.code === 'NOT_A_FILE';
}

/** The text of anything thrown, for a log line. */
export function errorText(error: unknown): string {
  // Of a host with several addresses none was reached: the error itself says nothing.
  if (error instanceof AggregateError && error.message === '') {
    return [...new Set(error.errors.map(errorText))].join(', ');
  }
  return error instanceof Error ? error.message : String(error);
}
