/** Streams of events: what a reader gets, and what becomes of one that does not read. */
import assert from 'node:assert/strict';
import http from 'node:http';
import { describe, test } from 'node:test';
import { EventStreams, type NodeEvent } from '../../../src/http/events.ts';
import type { Route } from '../../../src/http/router.ts';
import { until } from '../../harness/cluster.ts';
import { withServer } from './serve.ts';

const INIT: NodeEvent = { type: 'init', data: { isPrimary: true, hostname: 'box1' } };

function transaction(db: string): NodeEvent {
  const [txID, postApplyChecksum] = ['0000000000000001', '8000000000000000'];
  const timestamp = '2030-01-01T00:00:00.000Z';
  const data = { txID, postApplyChecksum, pageSize: 4096, commit: 2, timestamp };
  return { type: 'tx', db, data };
}

async function withStreams(
  body: (streams: EventStreams, read: () => Promise<http.IncomingMessage>) => Promise<void>,
): Promise<{ dropped: number }> {
  const result = { dropped: 0 };
  const streams = new EventStreams(() => result.dropped++);
  const route: Route = {
    method: 'GET',
    path: '/events',
    access: 'public',
    handle: ({ response }) => streams.open(response, INIT),
  };
  await withServer({ routes: [route] }, async (port) => {
    const read = () =>
      new Promise<http.IncomingMessage>((resolve, reject) => {
        const request = http.get({ port, host: '127.0.0.1', path: '/events', agent: false });
        request.on('response', resolve).on('error', reject);
      });
    await body(streams, read);
  });
  return result;
}

describe('events', () => {
  test('a reader gets init, then what is published, a line each', async () => {
    await withStreams(async (streams, read) => {
      const response = await read();
      streams.publish(transaction('a.db'));
      streams.publish(transaction('line\nbreak.db'));
      response.setEncoding('utf8');
      let text = '';
      response.on('data', (chunk) => (text += chunk)).on('error', () => {});
      await until('three lines', () => text.split('\n').length === 4);
      const events = text.trim().split('\n');
      assert.deepEqual(
        events.map((line) => JSON.parse(line)),
        [INIT, transaction('a.db'), transaction('line\nbreak.db')],
      );
    });
  });

  test('a reader that does not read is let go, another is not', async () => {
    const { dropped } = await withStreams(async (streams, read) => {
      const slow = await read();
      slow.on('error', () => {});
      const quick = await read();
      quick.resume().on('error', () => {});
      const large = transaction('x'.repeat(50_000));
      for (let i = 0; streams.count === 2; i++) {
        assert(i < 10_000, 'it was never let go');
        streams.publish(large);
        await new Promise(setImmediate);
      }
      assert.equal(streams.count, 1);
      assert.equal(quick.destroyed, false);
    });
    assert.equal(dropped, 1);
  });

  test('a reader that leaves is forgotten', async () => {
    await withStreams(async (streams, read) => {
      const response = await read();
      response.on('error', () => {});
      assert.equal(streams.count, 1);
      response.destroy();
      await until('it is forgotten', () => streams.count === 0);
    });
  });

  test('there are only so many', async () => {
    await withStreams(async (_, read) => {
      const responses = await Promise.all(Array.from({ length: 101 }, read));
      for (const response of responses) response.on('error', () => {});
      const statuses = responses.map(({ statusCode }) => statusCode);
      assert.equal(statuses.filter((status) => status === 503).length, 1);
    });
  });
});
