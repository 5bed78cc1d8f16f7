/** Under which names a node is asked. */
import assert from 'node:assert/strict';
import os from 'node:os';
import { test } from 'node:test';
import { isOwnName, machineNames, type NamedConfig } from '../../../src/daemon/own-names.ts';

test("the machine's names are its own, that of mDNS, and those of the resolver's domains", () => {
  const resolver = '# made\nnameserver 10.0.0.1\nsearch Lan. home.arpa\ndomain prod\noptions x\n';
  assert.deepEqual([...machineNames({ hostname: 'Box1', resolver })].sort(), [
    'box1',
    'box1.home.arpa',
    'box1.lan',
    'box1.local',
    'box1.prod',
  ]);
  assert.deepEqual([...machineNames({ hostname: 'box1.lan', resolver: '' })].sort(), [
    'box1',
    'box1.lan',
    'box1.local',
  ]);
});

test("a node's are those, and what its config has", () => {
  const config = {
    http: {
      addr: { host: 'api.lan', port: 1 },
      socket: undefined,
      hosts: ['Litefs.Example.org', 'x.example.'],
    },
    lease: { hostname: 'north', advertiseUrl: 'http://Box9.lan:20202/' },
  } as unknown as NamedConfig;
  const own = os.hostname().toLowerCase();
  for (const name of ['api.lan', 'litefs.example.org', 'x.example', 'north', 'box9.lan', own]) {
    assert(isOwnName(name, config), name);
  }
  for (const name of ['example.org', 'evil.example', 'north.evil.example', `${own}.evil.example`]) {
    assert(!isOwnName(name, config), name);
  }
});
