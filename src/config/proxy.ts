/** The `proxy` section of the config file: LiteFS's fields, and ours. */
import { z } from 'zod';
import { Fault } from './fault.ts';
import {
  type Address,
  type AddressRange,
  duration,
  flag,
  httpUrl,
  listenAddress,
  parseAddressRange,
  parseListenAddress,
  scalar,
  size,
  text,
} from './values.ts';

/** `host:port` or `:port`, which is this machine. */
function parseTarget(value: unknown): { host: string; port: number } | Fault {
  const plain =
    typeof value === 'string' ? value.replace(/^http:\/\//, '').replace(/\/$/, '') : value;
  const address = parseListenAddress(plain);
  if (address instanceof Fault || address.port === 0) {
    return new Fault('is not where an application listens: write "localhost:8080"');
  }
  return { host: address.host ?? 'localhost', port: address.port };
}

const ranges = () =>
  z
    .preprocess(
      (value) => (typeof value === 'string' ? [value] : value),
      z.array(scalar(parseAddressRange, { type: 'string', minLength: 2 })),
    )
    .prefault([])
    .meta({ orText: true });

/** Whole numbers from 0. */
const count = () => z.number().int().min(0);

const patterns = () => z.array(text()).prefault([]);

export const proxy = z
  .preprocess(
    (value) => value ?? {},
    z.strictObject({
      addr: listenAddress()
        .optional()
        .describe('Where the proxy listens. Without it there is none.'),
      target: scalar(parseTarget, { type: 'string', minLength: 1 })
        .optional()
        .describe('The application behind the proxy, host:port.'),
      db: z
        .preprocess(
          (value) => (typeof value === 'string' ? [value] : value),
          z.array(text()).min(1),
        )
        .optional()
        .meta({
          orText: true,
          description:
            'The database of the application, or several: a client that has written waits for them on other nodes.',
        }),
      advertise: httpUrl()
        .optional()
        .describe(
          "The URL of this node's proxy for other nodes. Default: the address by which they reach it, with addr's port.",
        ),
      'on-write': z
        .enum(['forward', 'redirect', 'fly-replay'])
        .prefault('forward')
        .describe(
          'A write on a replica: sent to the primary; answered with 307 and its URL; or with fly-replay, for Fly.io.',
        ),
      'on-stale': z
        .enum(['forward', '504'])
        .prefault('forward')
        .describe(
          'A read that this replica is too far behind for: sent to the primary, or refused.',
        ),
      'read-your-writes-timeout': duration()
        .prefault('5s')
        .describe('How long such a read waits before that.'),
      websocket: z
        .enum(['local', 'primary'])
        .prefault('local')
        .describe('Which node answers WebSockets.'),
      'response-headers': flag()
        .prefault(true)
        .describe('Tell clients litefs-txid, litefs-role, litefs-node and litefs-lag-ms.'),
      'replay-body': size()
        .prefault('1MiB')
        .describe('The most of a body that is kept in case the application asks for fly-replay.'),
      'replay-memory': size()
        .prefault('64MiB')
        .describe('The most of all such bodies together; past it they are not kept.'),
      'max-lag': duration().prefault('10s').describe('/litefs/health fails beyond this lag.'),
      debug: flag().prefault(false).describe('Log each request.'),
      passthrough: patterns().describe(
        'Paths that go to the application untouched; * stands for anything.',
      ),
      'always-forward': patterns().describe('Paths that count as writes whatever the method.'),
      'trusted-proxies': ranges().describe(
        'Addresses of proxies before this one, whose X-Forwarded-For and the like are believed.',
      ),
      'primary-redirect-timeout': duration()
        .prefault('5s')
        .describe('How long a write waits for the primary to be known and to answer.'),
      'read-timeout': duration().prefault('0').describe('For a whole request; 0 is none.'),
      'read-header-timeout': duration().prefault('10s').describe("For a request's headers."),
      'write-timeout': duration().prefault('0').describe('For an answer; 0 is none.'),
      'idle-timeout': duration().prefault('30s').describe('For an unused connection.'),
      'progress-timeout': duration()
        .prefault('60s')
        .describe('How long nothing of a body may move, in either direction; 0 is any time.'),
      'max-connections': count().prefault(16_384).describe('From clients, in all; 0 is no limit.'),
      'max-connections-per-address': count()
        .prefault(1024)
        .describe('The same for one address that is not of trusted-proxies.'),
    }),
  )
  .prefault({})
  .describe('The HTTP proxy in front of the application.');

/** The section as the program uses it. */
export interface ProxyConfig {
  readonly addr: Address;
  readonly target: { readonly host: string; readonly port: number };
  readonly databases: readonly string[];
  readonly advertise: string | undefined;
  readonly onWrite: 'forward' | 'redirect' | 'fly-replay';
  readonly onStale: 'forward' | '504';
  readonly readYourWritesMs: number;
  readonly websocket: 'local' | 'primary';
  readonly responseHeaders: boolean;
  readonly replayBodyBytesMax: number;
  readonly replayMemoryBytesMax: number;
  readonly maxLagMs: number;
  readonly debug: boolean;
  readonly passthrough: readonly string[];
  readonly alwaysForward: readonly string[];
  /** Proxies before this one that are believed. */
  readonly trusted: readonly AddressRange[];
  readonly primaryMs: number;
  /** 0: none, of this and the next two. */
  readonly requestMs: number;
  readonly headersMs: number;
  readonly answerMs: number;
  readonly idleMs: number;
  /** 0: none, of this and the next two. */
  readonly progressMs: number;
  readonly connectionsMax: number;
  readonly connectionsPerAddressMax: number;
}

/** undefined when there is none; a section without target or db is a contradiction that is reported elsewhere. */
export function resolveProxy(section: z.output<typeof proxy>): ProxyConfig | undefined {
  const { addr, target, db } = section;
  if (!addr || !target || !db) return undefined;
  return {
    addr,
    target,
    databases: db,
    advertise: section.advertise,
    onWrite: section['on-write'],
    onStale: section['on-stale'],
    readYourWritesMs: section['read-your-writes-timeout'],
    websocket: section.websocket,
    responseHeaders: section['response-headers'],
    replayBodyBytesMax: section['replay-body'],
    replayMemoryBytesMax: section['replay-memory'],
    maxLagMs: section['max-lag'],
    debug: section.debug,
    passthrough: section.passthrough,
    alwaysForward: section['always-forward'],
    trusted: section['trusted-proxies'],
    primaryMs: section['primary-redirect-timeout'],
    requestMs: section['read-timeout'],
    headersMs: section['read-header-timeout'],
    answerMs: section['write-timeout'],
    idleMs: section['idle-timeout'],
    progressMs: section['progress-timeout'],
    connectionsMax: section['max-connections'],
    connectionsPerAddressMax: section['max-connections-per-address'],
  };
}
