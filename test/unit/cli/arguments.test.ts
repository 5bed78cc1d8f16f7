import assert from 'node:assert/strict';
import { test } from 'node:test';
import { normalizeArguments } from '../../../src/cli/cli.ts';

for (const [given, wanted] of [
  ['mount -config /etc/x.yml', 'mount --config /etc/x.yml'],
  ['mount -config=/etc/x.yml -no-expand-env', 'mount --config=/etc/x.yml --no-expand-env'],
  ['mount -fuse.debug --debug', 'mount --fuse.debug --debug'],
  ['mount -- app -config x -- -y', 'mount -- app -config x -- -y'],
  ['-h', '-h'],
  ['status -', 'status -'],
] as const) {
  test(`${given} is read as ${wanted}`, () => {
    assert.equal(normalizeArguments(given.split(' ')).join(' '), wanted);
  });
}
