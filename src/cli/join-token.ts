/**
 * What a replica needs to know of its primary, as one word to copy: `lfl1.` and base64url, without padding, of
 *
 *   0  u16  port for replication, big-endian
 *   2  u16  port of the HTTP API
 *   4  u8   length h of the host
 *   5  h    the host: a name or an address, UTF-8; IPv6 without brackets
 *      ...  the secret, UTF-8, at least one byte
 *  -4  4    the first bytes of the SHA-256 of everything before
 *
 * The checksum is for slips of the hand: who has the token has the secret.
 */
import { createHash } from 'node:crypto';
import { LiteFsError } from '../errors.ts';

export interface JoinToken {
  readonly host: string;
  readonly replicationPort: number;
  readonly httpPort: number;
  readonly secret: string;
}

const PREFIX = 'lfl1.';
const HEADER_BYTES = 5;
const CHECKSUM_BYTES = 4;
const HOST_BYTES_MAX = 255;
const SECRET_BYTES_MAX = 1024;

/** Throws USAGE when it has no place for the host or the secret. */
export function encodeToken(token: JoinToken): string {
  const host = Buffer.from(token.host, 'utf8');
  const secret = Buffer.from(token.secret, 'utf8');
  if (host.length === 0 || host.length > HOST_BYTES_MAX) {
    throw new LiteFsError('USAGE', `a host of ${host.length} bytes has no place in a token`);
  }
  if (secret.length === 0 || secret.length > SECRET_BYTES_MAX) {
    throw new LiteFsError('USAGE', `a secret of ${secret.length} bytes has no place in a token`, {
      hint: `It may have up to ${SECRET_BYTES_MAX}. A good one: openssl rand -base64 32`,
    });
  }
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(token.replicationPort, 0);
  header.writeUInt16BE(token.httpPort, 2);
  header[4] = host.length;
  const body = Buffer.concat([header, host, secret]);
  return PREFIX + Buffer.concat([body, checksum(body)]).toString('base64url');
}

/** Throws USAGE for what is no token, a damaged one, or one of another version; its text is never shown. */
export function decodeToken(text: string): JoinToken {
  const word = text.trim();
  const version = /^lfl(\d+)\./.exec(word)?.[0];
  if (version === undefined) throw refused('is no token: one begins with lfl1.');
  if (version !== PREFIX) {
    throw new LiteFsError('USAGE', 'the token is of another version of litefs-lite', {
      hint: 'Install the same release on all nodes.',
    });
  }
  const encoded = word.slice(PREFIX.length);
  if (!/^[A-Za-z0-9_-]*$/.test(encoded)) throw refused('has characters that no token has');
  const bytes = Buffer.from(encoded, 'base64url');
  const body = bytes.subarray(0, Math.max(0, bytes.length - CHECKSUM_BYTES));
  const canonical = bytes.toString('base64url') === encoded;
  if (!canonical || !checksum(body).equals(bytes.subarray(body.length))) {
    throw refused('is mistyped, or a part of it is missing: its checksum is wrong');
  }
  const secretAt = HEADER_BYTES + (body[4] ?? 0);
  if (body.length <= secretAt || secretAt === HEADER_BYTES) throw refused('has a part too few');
  return {
    replicationPort: body.readUInt16BE(0),
    httpPort: body.readUInt16BE(2),
    host: body.toString('utf8', HEADER_BYTES, secretAt),
    secret: body.toString('utf8', secretAt),
  };
}

function checksum(body: Buffer): Buffer {
  return createHash('sha256').update(body).digest().subarray(0, CHECKSUM_BYTES);
}

function refused(why: string): LiteFsError {
  return new LiteFsError('USAGE', `the token ${why}`, {
    hint: 'Copy the whole line that "litefs-lite token" prints on the primary.',
  });
}
