/** What the proxy asks of the engine after writes. */
import assert from 'node:assert/strict';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { it } from 'node:test';
import { type ProxyParts, startNodeProxy } from '../../../src/daemon/proxy.ts';
import type { Uncaptured } from '../../../src/engine/protocol.ts';
import { get } from '../proxy/stand.ts';
import { settle, until } from '../replication/stand.ts';

it('answers writes again once a capture that failed is over', async () => {
  let asked = 0;
  let isHeld = true;
  const app = http.createServer((_, response) => {
    asked++;
    response.end();
  });
  await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve));
  const flushes: PromiseWithResolvers<readonly Uncaptured[]>[] = [];
  const engine = {
    positions: () => new Map([['app.db', { txid: 1, checksum: 1n }]]),
    onPosition: () => () => {},
    call() {
      const flush = Promise.withResolvers<readonly Uncaptured[]>();
      flushes.push(flush);
      if (!isHeld) flush.resolve([]);
      return flush.promise;
    },
  };
  const parts = {
    config: {
      addr: { host: '127.0.0.1', port: 0 },
      target: { host: '127.0.0.1', port: (app.address() as AddressInfo).port },
      databases: ['app.db'],
      passthrough: [],
      alwaysForward: [],
      trusted: [],
      idleMs: 1000,
      progressMs: 0,
      connectionsMax: 0,
      connectionsPerAddressMax: 0,
    },
    secret: undefined,
    identity: {
      role: 'primary',
      hostname: 'box1',
      nodeId: '0123456789abcdef',
      clusterId: '0123456789abcdef',
      term: 1,
    },
    replication: { primaryHostname: 'box1', primaryProxyUrl: undefined, lagMs: 0 },
    engine,
    troubles: () => [],
    answered() {},
    log: { error() {} },
  };
  const proxy = await startNodeProxy(parts as unknown as ProxyParts);
  try {
    const write = async () => (await get(proxy.port, '/', { method: 'POST' })).status;
    /** Two writes, the second of which comes while the first is being captured, and waits. */
    const two = async (done: (flush: PromiseWithResolvers<readonly Uncaptured[]>) => void) => {
      isHeld = true;
      const before = flushes.length;
      const first = write();
      await until(() => flushes.length > before);
      const count = asked;
      const second = write();
      await until(() => asked > count);
      await settle(50);
      done(flushes[before]);
      await settle(50);
      isHeld = false;
      for (const flush of flushes) flush.resolve([]);
      return [await first, await second];
    };
    assert.deepEqual(await two((flush) => flush.reject(new Error('the disk'))), [500, 200]);
    assert.deepEqual(await two((flush) => flush.resolve([])), [200, 200]);
  } finally {
    await proxy.close();
    await new Promise((resolve) => app.close(resolve));
  }
});
