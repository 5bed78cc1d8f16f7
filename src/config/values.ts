/**
 * The kinds of scalar a config file holds beyond text and numbers, as they are written and as the
 * program uses them:
 *
 *   duration   "10m", "1s", "1h30m", "500ms", "7d", 0     ms (a number)
 *   size       "512MiB", "2GB", 1048576                   bytes (a number)
 *   address    ":20202", "10.0.0.1:20202", "[::1]:20202"  { host, port }
 *   range      "10.0.0.0/8", "fd00::1"                    { address, prefix }
 *   flag       true, false; also yes, no, on, off         boolean
 *   command    "serve --name 'a b'"                       its words
 *
 * Parsers return a Fault, not an exception, for text a person got wrong.
 */
import net from 'node:net';
import { z } from 'zod';
import { Fault } from './fault.ts';
import { splitWords } from './words.ts';

/** Where to listen or to dial. Without a host: all interfaces. */
export interface Address {
  readonly host: string | undefined;
  /** 0 to 65535; 0 listens on any free port. */
  readonly port: number;
}

/** Addresses that have their first bits in common. */
export interface AddressRange {
  readonly address: string;
  /** How many bits. */
  readonly prefix: number;
}

const MS_PER_UNIT: Record<string, number> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
const DURATION_PATTERN = '^([0-9]+(\\.[0-9]+)?(ns|us|µs|ms|s|m|h|d))+$';
/** 100 years: what is longer is a slip, and sums stay far from 2^53. */
const DURATION_MS_MAX = 36_525 * MS_PER_UNIT.d;

/** A duration in whole ms, rounded up. Go's syntax, and `d` for days. */
export function parseDuration(value: unknown): number | Fault {
  if (value === 0 || value === '0') return 0;
  if (typeof value === 'number') {
    return new Fault(`is a number without a unit: write "${value}s", "${value}m" or "${value}ms"`);
  }
  if (typeof value !== 'string' || !new RegExp(DURATION_PATTERN).test(value)) {
    return new Fault('is not a duration: write one like "10s", "5m", "1h30m" or "500ms"');
  }
  let ms = 0;
  for (const [, number, unit] of value.matchAll(/([0-9.]+)([a-z\u00b5]+)/g)) {
    ms += Number(number) * MS_PER_UNIT[unit];
  }
  if (ms > DURATION_MS_MAX) return new Fault('is longer than 100 years');
  return Math.ceil(ms);
}

const BYTES_PER_UNIT: Record<string, number> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

/** A size in whole bytes. Units of 1000 (MB) and of 1024 (MiB); a bare number is bytes. */
export function parseSize(value: unknown): number | Fault {
  const match = /^([0-9]+(?:\.[0-9]+)?) *([kmgt]?i?b)?$/i.exec(String(value));
  const unit = match && BYTES_PER_UNIT[(match[2] ?? 'b').toLowerCase()];
  if (!match || unit === undefined || unit === null) {
    return new Fault('is not a size: write one like "512MiB" or "2GB"');
  }
  const bytes = Math.ceil(Number(match[1]) * unit);
  if (!Number.isSafeInteger(bytes)) return new Fault('is too large a size');
  return bytes;
}

/** An address to listen on: `:port` or `host:port`. */
export function parseListenAddress(value: unknown): Address | Fault {
  const match = typeof value === 'string' && /^(?:\[([^\]]+)\]|([^:[\]\s/]*)):(\d+)$/.exec(value);
  if (!match) {
    const port = /^\d{1,5}$/.test(String(value)) ? String(value) : '20202';
    return new Fault(`is not an address: write ":${port}" or "192.168.1.5:${port}"`);
  }
  const port = Number(match[3]);
  if (port > 65_535) return new Fault('has a port beyond 65535');
  return { host: match[1] ?? (match[2] || undefined), port };
}

/** An address to dial: `host:port`, both needed. */
export function parsePeerAddress(value: unknown): { host: string; port: number } | Fault {
  const address = parseListenAddress(value);
  if (address instanceof Fault || address.host === undefined || address.port === 0) {
    return new Fault(
      'is not an address to connect to: write "host:port", such as "box1.lan:20204"',
    );
  }
  return { host: address.host, port: address.port };
}

/** An address, or some that have their first bits in common: `10.0.0.0/8`. */
export function parseAddressRange(value: unknown): AddressRange | Fault {
  const [, address = '', bits] = /^([^/]*)(?:\/([0-9]{1,3}))?$/.exec(String(value)) ?? [];
  const version = net.isIP(address);
  const bitsMax = version === 4 ? 32 : 128;
  const prefix = bits === undefined ? bitsMax : Number(bits);
  if (version === 0 || prefix > bitsMax || address.includes('%')) {
    return new Fault('is not an address: write one like "10.0.0.1", "10.0.0.0/8" or "fd00::/8"');
  }
  if (/^::ffff:/i.test(address)) return new Fault('is an address of IPv4: write it as such');
  return { address, prefix };
}

/** The inverse of parseListenAddress. */
export function formatAddress(address: Address): string {
  const host = address.host ?? '';
  return `${host.includes(':') ? `[${host}]` : host}:${address.port}`;
}

/** Folder of the sockets of nodes that are not told otherwise. */
const SOCKETS_DIR = '/run/litefs-lite';

/** Where the socket of a node is that listens at this port. */
export function socketAt(
  { socket }: { readonly socket: string | undefined },
  port: number,
): string {
  return socket ?? `${SOCKETS_DIR}/${port}.sock`;
}

/** Whether only this machine itself can mean it. */
export function isLoopback(host: string | undefined): boolean {
  return host !== undefined && /^(127\.|::1$|localhost$)/.test(host);
}

/** A user, a group, or both, each by name or number: `user`, `user:group`, `:group`. */
export function parseOwner(value: unknown): { user?: string; group?: string } | Fault {
  const name = '[A-Za-z0-9_][A-Za-z0-9_.-]*\\$?';
  const match = typeof value === 'string' && new RegExp(`^(${name})?(?::(${name}))?$`).exec(value);
  if (!match || (!match[1] && !match[2])) {
    return new Fault('is not an owner: write "user", "user:group" or ":group"');
  }
  return { ...(match[1] && { user: match[1] }), ...(match[2] && { group: match[2] }) };
}

/** Permission bits of a file, octal, as text: YAML takes 0640 for six hundred and forty. */
export function parseFileMode(value: unknown): number | Fault {
  const match = typeof value === 'string' && /^0?([0-7]{3})$/.exec(value);
  return match
    ? Number.parseInt(match[1], 8)
    : new Fault('is not a mode: write one in quotes, such as "0640"');
}

/** A user or a group: by name, or by number, which YAML may have as one. */
function parseAccount(value: unknown): string | Fault {
  const text = typeof value === 'number' ? `${value}` : value;
  if (typeof text === 'string' && /^[A-Za-z0-9_][A-Za-z0-9_.-]*\$?$/.test(text)) return text;
  return new Fault('is not a user or a group: write a name or a number');
}

/** Variables of an environment by their names. What is wrong is said without the value, which may be a secret. */
function parseVariables(value: unknown): Record<string, string> | Fault {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return new Fault('must be a group of keys, one a line, indented below it');
  }
  const variables: Record<string, string> = Object.create(null);
  for (const [name, content] of Object.entries(value)) {
    if (!/^[^=\0]+$/.test(name)) return new Fault('has a name that no variable can have');
    if (typeof content !== 'string' && typeof content !== 'number') {
      return new Fault(`has ${name}, which is not text: put it in quotes`);
    }
    if (`${content}`.includes('\0')) return new Fault(`has ${name}, with a NUL in it`);
    variables[name] = `${content}`;
  }
  return variables;
}

function parseCommand(value: unknown): string[] | Fault {
  return typeof value === 'string' ? splitWords(value) : new Fault('is not a command line');
}

/** A URL by which other nodes reach something. */
function parseHttpUrl(value: unknown): string | Fault {
  const url = typeof value === 'string' ? URL.parse(value) : null;
  if (!url || !/^https?:$/.test(url.protocol) || url.hostname === '') {
    return new Fault('is not a URL: write one like "http://box1.lan:20202"');
  }
  return url.href;
}

/** YAML 1.1 words for booleans, which LiteFS's parser takes where it expects one. */
const YAML_1_1_FLAGS: Record<string, boolean> = { yes: true, on: true, no: false, off: false };

/** A zod schema for a value that `parse` understands, described to editors by `jsonSchema`. */
export function scalar<T>(
  parse: (value: unknown) => T | Fault,
  jsonSchema: Record<string, unknown>,
) {
  return z
    .unknown()
    .transform((value, context): T => {
      const parsed = value === undefined ? new Fault('is missing') : parse(value);
      if (!(parsed instanceof Fault)) return parsed;
      context.issues.push({ code: 'custom', message: parsed.text, input: value });
      return z.NEVER;
    })
    .meta(jsonSchema);
}

export const duration = () =>
  scalar(parseDuration, {
    anyOf: [{ type: 'string', pattern: DURATION_PATTERN }, { const: 0 }],
  });

export const size = () =>
  scalar(parseSize, {
    anyOf: [
      { type: 'string', pattern: '^[0-9]+(\\.[0-9]+)? *([kKmMgGtT]?[iI]?[bB])?$' },
      { type: 'integer', minimum: 0 },
    ],
  });

export const listenAddress = () =>
  scalar(parseListenAddress, { type: 'string', pattern: '^(\\[.+\\]|[^:]*):[0-9]+$' });

export const peerAddress = () =>
  scalar(parsePeerAddress, { type: 'string', pattern: '^(\\[.+\\]|[^:]+):[0-9]+$' });

export const owner = () => scalar(parseOwner, { type: 'string', minLength: 1 });

export const account = () => scalar(parseAccount, { type: ['string', 'integer'] });

export const variables = () =>
  scalar(parseVariables, {
    type: 'object',
    additionalProperties: { type: ['string', 'number'] },
  });

export const fileMode = () => scalar(parseFileMode, { type: 'string', pattern: '^0?[0-7]{3}$' });

export const flag = () =>
  z.preprocess(
    (value) => (typeof value === 'string' ? (YAML_1_1_FLAGS[value.toLowerCase()] ?? value) : value),
    z.boolean(),
  );

/** Text that must say something: an empty value is more often a variable that was not set. */
export const text = () => z.string().min(1);

/** A name that fits into .primary and into headers. */
export const hostname = () =>
  text()
    .refine((name) => /^[!-~]*$/.test(name), {
      error: 'is not a host name: write letters, digits, "-" and "."',
    })
    .meta({ pattern: '^[!-~]+$' });

/** sun_path has 108 bytes, with a NUL. */
const SOCKET_BYTES_MAX = 107;

/** A path that does not depend on from where the program is started. */
export const absolutePath = (example = '/etc/…') =>
  text()
    .refine((file) => file.startsWith('/'), {
      error: `is not a path from the root: write "${example}"`,
    })
    .meta({ pattern: '^/' });

/** A path at which a Unix socket can be. */
export const socketPath = () =>
  absolutePath('/run/…')
    .refine((file) => Buffer.byteLength(file) <= SOCKET_BYTES_MAX, {
      error: `is longer than ${SOCKET_BYTES_MAX} bytes, which no socket can have`,
    })
    .meta({ pattern: '^/' });

/** The name of a host, as others ask for it: no port, no pattern. */
export const hostWithoutPort = () =>
  text()
    .refine((name) => /^[^\s:/*@]+$/.test(name), {
      error: 'is not a name: write it without port, path or "*"',
    })
    .meta({ pattern: '^[^\\s:/*@]+$' });

/** A command line, as its words (see words.ts). */
export const command = () => scalar(parseCommand, { type: 'string', minLength: 1 });

export const httpUrl = () => scalar(parseHttpUrl, { type: 'string', pattern: '^https?://' });
