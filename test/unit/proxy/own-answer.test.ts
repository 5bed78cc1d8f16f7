/** Which status says what of a side that has not answered. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { silentPrimary, silentTarget } from '../../../src/proxy/own-answer.ts';
import { Presence } from '../../../src/proxy/presence.ts';
import { Upstream } from '../../../src/proxy/upstream.ts';

it('says that a request may be sent again only when nothing of it was sent', async () => {
  // What ends a connection on which a write was sent may look like what keeps one from being made.
  const broken = Object.assign(new Error('read ETIMEDOUT'), { code: 'ETIMEDOUT' });
  assert.equal(silentPrimary('http://box1/', broken).status, 502);
  const upstream = new Upstream({ host: '127.0.0.1', port: 1 });
  const head = { method: 'POST', path: '/', headers: [] };
  const options = { retryMs: 0, fresh: true, client: new Presence() };
  const unreached = await upstream.open(head, options).catch((error) => error);
  upstream.close();
  const { status, reason } = silentPrimary('http://box1/', unreached);
  assert.equal(status, 503);
  assert.match(reason, /does not answer: connect ECONNREFUSED 127\.0\.0\.1:1$/);
  assert.equal(silentTarget({ host: 'a', port: 1 }, unreached).status, 502);
});
