/** What the proxy reads of a request before anything is decided: the cookie, the target, and headers in every spelling. */
import assert from 'node:assert/strict';
import { crowdOf, plainAddress, TrustedAddresses } from '../../../../src/os/addresses.ts';
import { formatTxids, parseWanted, txidSetCookie } from '../../../../src/proxy/cookie.ts';
import {
  FORWARDED_SEAL,
  requestHeaders,
  responseHeaders,
  trailerPairs,
} from '../../../../src/proxy/headers.ts';
import { faultOf, hasPassed, originForm } from '../../../../src/proxy/intake.ts';
import { replayWish } from '../../../../src/proxy/replay.ts';
import { isUpgrade, pathOf, Rules } from '../../../../src/proxy/rules.ts';
import { forwardingSeal, isSeal } from '../../../../src/proxy/seal.ts';
import type { SeededRandom } from '../../random.ts';
import { type Grammar, PURE } from '../grammar.ts';
import { edge, mutateText, oddText } from '../mutate.ts';

const DATABASES = [
  ['app.db'],
  ['app.db', 'folder/a b.db'],
  ['x.db', 'y.db', 'constructor', '__proto__'],
  [],
];
const DAY_MS = 86_400_000;

function cookieHeader(random: SeededRandom, databases: readonly string[]): string {
  const realm = { secret: 'secret', clusterId: 'c000000000000001', databases };
  const txid = () => Number(BigInt.asUintN(53, edge(random))) || 1;
  const txids = new Map(databases.map((database) => [database, txid()]));
  const one = () => {
    const made = txidSetCookie(
      { txids, isCertain: random.below(2) === 0 },
      random.below(9),
      realm,
      random.below(2 ** 31) + DAY_MS,
    );
    const pair = made.slice(0, made.indexOf(';'));
    if (random.below(2) === 0) return pair;
    return random.pick([
      `__txid=${formatTxids(txids, databases)}`,
      `__txid=${oddText(random)}`,
      'a=b',
    ]);
  };
  return Array.from({ length: 1 + random.below(12) }, one).join(random.pick(['; ', ';', ' ; ']));
}

export const cookie: Grammar = {
  name: 'cookie',
  reads: "the proxy's cookie, as a client sends it back",
  codes: [],
  bounds: PURE,
  isStateful: false,
  begin: () => ({
    make(random) {
      const databases = random.pick(DATABASES);
      const whole = cookieHeader(random, databases);
      const header = random.below(3) === 0 ? whole : mutateText(random, whole);
      const realm = {
        secret: random.pick([undefined, 'secret', 'other']),
        clusterId: 'c000000000000001',
        databases,
      };
      const here = new Map(databases.map((database) => [database, Number(edge(random))]));
      return {
        bytes: header.length,
        take() {
          const { txids, vouched } = parseWanted(header, realm, here);
          for (const [database, txid] of txids) {
            assert(databases.includes(database) && Number.isSafeInteger(txid) && txid > 0);
          }
          if (vouched) assert(realm.secret === 'secret' && vouched.term >= 0);
          return txids.size > 0 ? 'value' : 'refused';
        },
      };
    },
    end() {},
  }),
};

const NAMES = [
  'Host',
  'Cookie',
  'Connection',
  'TE',
  'Transfer-Encoding',
  'Content-Length',
  'Upgrade',
  'Via',
  'Forwarded',
  'X-Forwarded-For',
  'X_Forwarded_For',
  'X-Forwarded-Host',
  'X-Forwarded-Proto',
  'x-real-ip',
  'Proxy',
  'Accept',
  'litefs-forwarded-by',
  'litefs-forwarded-seal',
  'Litefs-Txid',
  'fly-replay',
  '__proto__',
  'Keep-Alive',
  'Trailer',
];
const VALUES = [
  'a.example',
  'a.example:80',
  '[::1]:8080',
  'close, host',
  'trailers',
  'gzip, chunked',
  'chunked',
  '0',
  '5',
  '-1',
  '18446744073709551616',
  'websocket',
  '1.1 me',
  'HTTP/1.1 me, 1.0 other',
  'for=1.2.3.4;proto=https',
  '1.2.3.4, 5.6.7.8',
  'instance=box1',
  'elsewhere=true',
  '',
  ' ',
  ',,,,',
  'keep-alive, cookie, x-y',
];
const TARGETS = [
  '/',
  '*',
  '/a/b?c=d#e',
  'http://a.example/x',
  'HTTPS://A.example:443',
  'ftp://a/',
  'a.example:80',
  '//b/c',
  '/%61%zz',
  '/%2e%2e/%00',
  'http://',
  'http://u:p@h/',
  '/litefs/health',
  '/static/../x',
  '/..;/y',
];
const ADDRESSES = [
  '1.2.3.4',
  '::1',
  '::ffff:1.2.3.4',
  'fe80::1%eth0',
  '2001:db8::5',
  '',
  'unknown',
  '::',
];

export const heads: Grammar = {
  name: 'heads',
  reads: 'targets and headers of requests, as the proxy judges and passes them on',
  codes: [],
  bounds: PURE,
  isStateful: false,
  begin() {
    const rules = new Rules({
      passthrough: ['*.png', '/static/*', '*a*a*a*a*b'],
      alwaysForward: ['/admin*'],
      websocket: 'primary',
    });
    const trusted = new TrustedAddresses([
      { address: '10.0.0.0', prefix: 8 },
      { address: '2001:db8::', prefix: 32 },
    ]);
    return {
      make(random) {
        const odd = (texts: readonly string[]) => {
          const text = random.pick(texts);
          return random.below(3) === 0 ? mutateText(random, text, texts) : text;
        };
        const rawHeaders = Array.from({ length: random.below(12) }, () => [
          odd(NAMES),
          odd(VALUES),
        ]).flat();
        const head = {
          method: odd(['GET', 'POST', 'TRACE', 'CONNECT']),
          target: odd(TARGETS),
          httpVersion: random.pick(['1.0', '1.1']),
          rawHeaders,
        };
        const address = random.pick(ADDRESSES);
        const client = {
          address,
          host: random.pick([undefined, 'h']),
          isTrusted: random.below(2) === 0,
        };
        return {
          bytes: head.target.length + rawHeaders.join('').length,
          take() {
            const fault = faultOf(head);
            hasPassed(rawHeaders, 'me');
            const origin = originForm(head.target);
            if (fault === undefined) assert(origin === '*' || origin.startsWith('/'));
            rules.kindOf({ ...head, upgrade: rawHeaders[1] });
            pathOf(head.target);
            isUpgrade({ upgrade: rawHeaders[1], 'content-length': rawHeaders[3] });
            const hop = {
              via: { httpVersion: head.httpVersion, pseudonym: 'me' },
              host: 'h',
              forwardedBy: 'box1',
            };
            const sent = requestHeaders(rawHeaders, client, hop);
            assert(sent.length % 2 === 0);
            for (let i = 0; i < sent.length; i += 2) {
              // What a stranger says of himself under our own names is not passed on.
              const isOurs = /^litefs-/i.test(sent[i]) && sent[i] !== 'litefs-forwarded-by';
              assert(!isOurs, `${sent[i]} was passed on`);
            }
            isSeal(rawHeaders[1] ?? '', forwardingSeal('secret', head, rawHeaders));
            responseHeaders(rawHeaders, { keepOurs: false });
            trailerPairs(rawHeaders);
            replayWish(rawHeaders[1] ?? '', { isPrimary: false, primaryHostname: 'box1' });
            const plain = plainAddress(address === '' ? undefined : address);
            trusted.has(plain);
            crowdOf(plain);
            assert(sent.indexOf(FORWARDED_SEAL) < 0);
            return fault === undefined ? 'value' : 'refused';
          },
        };
      },
      end() {},
    };
  },
};
