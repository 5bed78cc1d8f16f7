import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Capability, lackedCapabilities } from '../../../src/os/capabilities.ts';

const ALL: Capability[] = ['CAP_KILL', 'CAP_SETGID', 'CAP_SETUID'];
const lacked = (effective: string) =>
  lackedCapabilities(`Name:\tnode\nCapPrm:\t00000000000000ff\nCapEff:\t${effective}\n`, ALL);

test('capabilities that a process lacks, by its status', () => {
  assert.deepEqual(lacked('000001ffffffffff'), []);
  assert.deepEqual(lacked('00000000000000e0'), []);
  assert.deepEqual(lacked('0000000000000060'), ['CAP_SETUID']);
  assert.deepEqual(lacked('00000000000000a0'), ['CAP_SETGID']);
  assert.deepEqual(lacked('000001ffffffffdf'), ['CAP_KILL']);
  assert.deepEqual(lacked('0000000000000000'), ALL);
  assert.deepEqual(lackedCapabilities('', ALL), ALL);
});
