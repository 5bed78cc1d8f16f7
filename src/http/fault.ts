/** An answer that is not 200: a status, and the JSON body that every such answer has (ErrorReport in info.ts). */
import { errorText, LiteFsError } from '../errors.ts';
import type { ErrorReport } from './info.ts';

/** Thrown by a route to answer with this status. `code` is for programs, `message` and `hint` for people. */
export class HttpFault extends Error {
  readonly status: number;
  readonly code: string;
  readonly hint: string | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    code: string,
    message: string,
    options: { hint?: string; headers?: Readonly<Record<string, string>> } = {},
  ) {
    super(message);
    this.name = 'HttpFault';
    this.status = status;
    this.code = code;
    this.hint = options.hint;
    this.headers = options.headers ?? {};
  }
}

const STATUS_BY_CODE: Partial<Record<LiteFsError['code'], number>> = {
  DATABASE_NOT_FOUND: 404,
  DATABASE_CORRUPT: 422,
  USAGE: 400,
  WRONG_STATE: 503,
  DATABASE_BUSY: 503,
  DISK: 507,
  NOT_A_FILE: 409,
};

/** What to answer for anything that a route threw. What is no fault of the outside world is a 500. */
export function asFault(error: unknown): HttpFault {
  if (error instanceof HttpFault) return error;
  if (!(error instanceof LiteFsError)) return new HttpFault(500, 'INTERNAL', errorText(error));
  const status = STATUS_BY_CODE[error.code] ?? 500;
  return new HttpFault(status, error.code, error.message, { hint: error.hint });
}

export function faultReport({ code, message, hint }: HttpFault): ErrorReport {
  return { code, message, hint };
}
