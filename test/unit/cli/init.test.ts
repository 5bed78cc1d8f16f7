/** What init writes: always a config that is right, and says what was asked for. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { settingsOf } from '../../../src/cli/init.ts';
import { lanAddresses, lanHost } from '../../../src/cli/lan-host.ts';
import { tokenOf } from '../../../src/cli/token.ts';
import { initialConfig, SHIPPED_CONFIG } from '../../../src/config/initial.ts';
import { parseConfig } from '../../../src/config/load.ts';
import { LiteFsError } from '../../../src/errors.ts';

const MADE = 'made by this machine, at random';
const HANDED_ON = 'handed on by a machine before it';
const FOUND = { host: '10.0.0.1', secret: () => MADE };
const TOKEN = { host: 'box1.lan', replicationPort: 4, httpPort: 2, secret: HANDED_ON };
const load = (text: string) =>
  parseConfig(text, 'x.yml', { env: {}, cwd: '/', expandEnv: true }).config;

describe('the text of the shipped config', () => {
  it('is that of packaging/litefs-lite.yml', () => {
    const file = path.resolve(import.meta.dirname, '../../../packaging/litefs-lite.yml');
    assert.equal(SHIPPED_CONFIG, fs.readFileSync(file, 'utf8'));
  });
});

describe('what init writes', () => {
  it('of a primary lets replicas in who know the secret, and keeps the API to itself', () => {
    const config = load(initialConfig(settingsOf({}, undefined, FOUND)));
    assert.equal(config.lease.candidate, true);
    assert.equal(config.lease.advertiseUrl, 'http://10.0.0.1:20202/');
    assert.deepEqual(config.replication.addr, { host: undefined, port: 20204 });
    assert.equal(config.replication.secret, MADE);
    assert.deepEqual(config.http.addr, { host: '127.0.0.1', port: 20202 });
    assert.deepEqual([config.fuse.dir, config.data.dir], ['/litefs', '/var/lib/litefs']);
    assert(config.snapshots, 'as in the shipped one');
  });

  it('of a replica is what the token says', () => {
    for (const flags of [{}, { replicaOf: '10.9.9.9' }]) {
      const config = load(initialConfig(settingsOf(flags, TOKEN, FOUND)));
      const host = flags.replicaOf ?? 'box1.lan';
      assert.equal(config.lease.candidate, false);
      assert.equal(config.lease.advertiseUrl, `http://${host}:2/`);
      assert.deepEqual(config.replication.primary, { host, port: 4 });
      assert.deepEqual(config.replication.addr, { host: undefined, port: 20204 });
      assert.equal(config.replication.secret, HANDED_ON);
    }
  });

  it('of a primary with a token has its secret and ports, and its own address', () => {
    const config = load(initialConfig(settingsOf({ primary: true }, TOKEN, FOUND)));
    assert.equal(config.lease.advertiseUrl, 'http://10.0.0.1:2/');
    assert.deepEqual(config.replication.addr, { host: undefined, port: 4 });
    assert.deepEqual(config.http.addr, { host: '127.0.0.1', port: 2 });
    assert.equal(config.replication.secret, HANDED_ON);
  });

  it('is right whatever the secret and the folders are', () => {
    const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(text, text, fc.boolean(), (odd, folder, isPrimary) => {
        const secret = `${odd}${MADE}`;
        const name = folder.replaceAll(/[/\0.]/g, '_');
        const config = load(
          initialConfig({
            role: isPrimary ? 'primary' : 'replica',
            host: 'fd00::1',
            httpPort: 20202,
            replicationPort: 20205,
            secret,
            mountDir: `/m/${name}`,
            dataDir: `/d/${name}`,
          }),
        );
        assert.equal(config.replication.secret, secret);
        assert.deepEqual([config.fuse.dir, config.data.dir], [`/m/${name}`, `/d/${name}`]);
        assert.equal(config.replication.primary?.host, 'fd00::1');
        assert.equal(config.replication.primary?.port, 20205);
        const token = isPrimary ? tokenOf(config, 'x.yml', 'unused') : undefined;
        if (token) {
          const ports = { replicationPort: 20205, httpPort: 20202 };
          assert.deepEqual(token, { host: 'fd00::1', secret, ...ports });
        }
      }),
    );
  });

  it('is nothing when the flags contradict, or the secret is not known', () => {
    for (const [flags, pattern] of [
      [{ primary: true, replicaOf: 'box1' }, /either the primary or a replica/],
      [{ replicaOf: 'box1' }, /box1 lets no replica in/],
    ] as const) {
      assert.throws(() => settingsOf(flags, undefined, FOUND), pattern);
    }
    assert.throws(() => settingsOf({ replicaOf: 'http://box1:20202' }, TOKEN, FOUND), /is no host/);
  });
});

describe('a token is made', () => {
  const tokenIn = (text: string) => tokenOf(load(text), 'x.yml', '10.0.0.7');

  it('of the address that is advertised, or of this machine', () => {
    const rest = `replication: {secret: "${MADE}", addr: ":5"}\nhttp: {addr: ":6"}\n`;
    assert.deepEqual(tokenIn(rest), {
      host: '10.0.0.7',
      replicationPort: 5,
      httpPort: 6,
      secret: MADE,
    });
    const named = tokenIn(`${rest}lease: {advertise-url: "https://box.lan"}\n`);
    assert.deepEqual([named.host, named.httpPort], ['box.lan', 443]);
  });

  it('on a primary only, with a secret, that others reach', () => {
    for (const [text, code] of [
      ['lease: {candidate: false, advertise-url: "http://b:1"}', 'WRONG_STATE'],
      [SHIPPED_CONFIG, 'CONFIG'],
      [`replication: {secret: "${MADE}", addr: "127.0.0.1:5"}`, 'CONFIG'],
    ] as const) {
      assert.throws(
        () => tokenIn(text),
        (error) => error instanceof LiteFsError && error.code === code && error.hint !== undefined,
      );
    }
  });
});

describe('the address of this machine', () => {
  const at = (address: string, internal = false) => ({
    address,
    internal,
    family: address.includes(':') ? ('IPv6' as const) : ('IPv4' as const),
    netmask: '',
    mac: '',
    cidr: null,
    scopeid: 0,
  });

  it('is the one on the LAN: not a bridge, not a tunnel, not one that no router knows', () => {
    const interfaces = {
      lo: [at('127.0.0.1', true), at('::1', true)],
      docker0: [at('172.17.0.1')],
      tailscale0: [at('100.64.3.2')],
      eth1: [at('169.254.3.4'), at('fe80::1')],
      eth0: [at('fd00::5'), at('2001:db8::1'), at('192.168.1.5')],
    };
    const sorted = ['192.168.1.5', 'fd00::5', '2001:db8::1', '172.17.0.1', '100.64.3.2'];
    assert.deepEqual(lanAddresses(interfaces), sorted);
    assert.equal(lanHost(interfaces, 'box'), '192.168.1.5');
  });

  it('is its name when there is none', () => {
    assert.equal(lanHost({ lo: [at('127.0.0.1', true)] }, 'box'), 'box');
  });
});
