import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Fault } from '../../../src/config/fault.ts';
import {
  formatAddress,
  parseAddressRange,
  parseDuration,
  parseFileMode,
  parseListenAddress,
  parseOwner,
  parsePeerAddress,
  parseSize,
} from '../../../src/config/values.ts';
import { splitWords } from '../../../src/config/words.ts';

/** A parser, with what it takes and what it makes of it, and what it refuses and with which words. */
function check<T>(
  name: string,
  parse: (value: never) => T | Fault,
  good: readonly (readonly [unknown, T])[],
  bad: readonly (readonly [unknown, RegExp])[],
): void {
  describe(name, () => {
    for (const [text, value] of good) {
      test(`${JSON.stringify(text)} is ${JSON.stringify(value)}`, () => {
        assert.deepEqual(parse(text as never), value);
      });
    }
    for (const [text, reason] of bad) {
      test(`${JSON.stringify(text)} is refused`, () => {
        const fault = parse(text as never);
        assert(fault instanceof Fault, JSON.stringify(fault));
        assert.match(fault.text, reason);
      });
    }
  });
}

check(
  'durations, in ms',
  parseDuration,
  [
    ['10m', 600_000],
    ['1s', 1000],
    ['1h30m', 5_400_000],
    ['500ms', 500],
    ['1.5s', 1500],
    ['7d', 604_800_000],
    ['1us', 1],
    ['0', 0],
    [0, 0],
  ],
  [
    [5, /without a unit: write "5s", "5m" or "5ms"/],
    ['5', /not a duration/],
    ['5 minutes', /not a duration/],
    ['-1s', /not a duration/],
    ['', /not a duration/],
    ['37000d', /100 years/],
    [null, /not a duration/],
  ],
);

check(
  'sizes, in bytes',
  parseSize,
  [
    ['512MiB', 2 ** 29],
    ['2GB', 2e9],
    ['2 gib', 2 ** 31],
    ['1.5KiB', 1536],
    [1_048_576, 1_048_576],
    ['10B', 10],
    [0, 0],
  ],
  [
    ['big', /not a size/],
    [-1, /not a size/],
    ['5i', /not a size/],
    ['9007TiB', /too large/],
  ],
);

check(
  'addresses to listen on',
  parseListenAddress,
  [
    [':20202', { host: undefined, port: 20202 }],
    ['10.0.0.1:80', { host: '10.0.0.1', port: 80 }],
    ['[::1]:80', { host: '::1', port: 80 }],
    ['localhost:0', { host: 'localhost', port: 0 }],
  ],
  [
    [20202, /write ":20202"/],
    ['20202', /write ":20202"/],
    ['::1:80', /not an address/],
    ['http://box:80', /not an address/],
    [':99999', /beyond 65535/],
  ],
);

check(
  'addresses to dial',
  parsePeerAddress,
  [['box1.lan:20204', { host: 'box1.lan', port: 20204 }]],
  [
    [':20204', /not an address to connect to/],
    ['box1:0', /not an address to connect to/],
    ['box1', /not an address to connect to/],
  ],
);

check(
  'commands',
  splitWords,
  [
    ['serve -addr :80', ['serve', '-addr', ':80']],
    ['  a   b ', ['a', 'b']],
    [`sh -c 'a | b; c' "it's" ''`, ['sh', '-c', 'a | b; c', "it's", '']],
    [String.raw`a\ b "\"\\\n"`, ['a b', String.raw`"\\n`]],
    [`a'b'"c"d`, ['abcd']],
  ],
  [
    ['a | b', /holds a \|/],
    ['a && b', /holds a &/],
    ['a > log', /holds a >/],
    ['echo `b`', /holds a `/],
    [`a 'b`, /' that is never closed/],
    ['a \\', /backslash/],
    [' ', /empty/],
  ],
);

test('an address is written as it is read', () => {
  for (const text of [':80', '10.0.0.1:80', '[::1]:80']) {
    const address = parseListenAddress(text);
    assert(!(address instanceof Fault));
    assert.equal(formatAddress(address), text);
  }
});

check(
  'owners',
  parseOwner,
  [
    ['pdns', { user: 'pdns' }],
    ['pdns:www-data', { user: 'pdns', group: 'www-data' }],
    [':1000', { group: '1000' }],
    ['1000:1000', { user: '1000', group: '1000' }],
    ['machine$', { user: 'machine$' }],
  ],
  [
    ['', /is not an owner/],
    [':', /is not an owner/],
    ['a:b:c', /is not an owner/],
    ['-1', /is not an owner/],
    ['a b', /is not an owner/],
    [1000, /is not an owner/],
  ],
);

check(
  'modes of files',
  parseFileMode,
  [
    ['0640', 0o640],
    ['600', 0o600],
  ],
  [
    // YAML takes 0640 for this.
    [640, /in quotes/],
    ['4755', /is not a mode/],
    ['0689', /is not a mode/],
    ['u=rw', /is not a mode/],
  ],
);

check(
  'ranges of addresses',
  parseAddressRange,
  [
    ['10.0.0.1', { address: '10.0.0.1', prefix: 32 }],
    ['10.0.0.0/8', { address: '10.0.0.0', prefix: 8 }],
    ['0.0.0.0/0', { address: '0.0.0.0', prefix: 0 }],
    ['::1', { address: '::1', prefix: 128 }],
    ['fd00::/8', { address: 'fd00::', prefix: 8 }],
  ],
  [
    ['10.0.0.0/33', /is not an address/],
    ['10.0.0/8', /is not an address/],
    ['10.0.0.0/', /is not an address/],
    ['10.0.0.0/8/8', /is not an address/],
    ['fd00::/129', /is not an address/],
    ['fe80::1%eth0', /is not an address/],
    ['caddy.lan', /is not an address/],
    ['', /is not an address/],
    [5, /is not an address/],
    ['::ffff:10.0.0.1', /IPv4: write it as such/],
  ],
);
