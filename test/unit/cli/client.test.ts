/** What commands make of a node's answers, and of none. */
import assert from 'node:assert/strict';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterEach, describe, it, mock } from 'node:test';
import { getJson, NO_LIMIT, openRequest, postJson } from '../../../src/cli/client.ts';
import { nodeElsewhere } from '../../../src/cli/node-url.ts';
import { LiteFsError } from '../../../src/errors.ts';

/** It listens at no socket. */
const withSecret = (url: string) => ({ ...nodeElsewhere(url), secret: 'sesame' });

describe('a request to a node', () => {
  let server: http.Server | undefined;
  afterEach(() => {
    mock.restoreAll();
    server?.closeAllConnections();
    server?.close();
  });

  async function listening(answer: http.RequestListener): Promise<string> {
    const own = http.createServer(answer);
    server = own;
    await new Promise<void>((resolve) => own.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(own.address() as AddressInfo).port}`;
  }

  const refused =
    (message: RegExp, hint = /systemctl/) =>
    (error: unknown) => {
      assert(error instanceof LiteFsError, String(error));
      assert.match(error.message, message);
      assert.match(error.hint ?? '', hint);
      return true;
    };

  it('is not by fetch, which gives up after 300 s whatever it is told', async () => {
    const url = await listening((_, response) => response.end('{"ok": true}'));
    mock.method(globalThis, 'fetch', () => Promise.reject(new Error('UND_ERR_HEADERS_TIMEOUT')));
    assert.deepEqual(await postJson(withSecret(url), '/snapshot', NO_LIMIT), { ok: true });
  });

  it('ends after the time that it may take', async () => {
    const url = await listening(() => {});
    await assert.rejects(getJson(nodeElsewhere(url), '/info', 20), refused(/takes too long/));
  });

  it('says what the node says', async () => {
    const url = await listening((_, response) => {
      response.writeHead(503);
      response.end('{"message": "the node is starting", "hint": "wait"}');
    });
    await assert.rejects(
      getJson(nodeElsewhere(url), '/info'),
      refused(/: the node is starting$/, /^wait$/),
    );
  });

  it('fails when there is no node, another program, or half an answer', async () => {
    await assert.rejects(
      getJson(nodeElsewhere('http://127.0.0.1:1'), '/info'),
      refused(/ECONNREFUSED/),
    );
    await assert.rejects(
      getJson(nodeElsewhere('no url'), '/info'),
      refused(/no node answers at no url/),
    );
    const url = await listening((request, response) => {
      if (request.url === '/other') response.end('<html>');
      else {
        response.writeHead(200, { 'content-length': 100 });
        response.write('{', () => response.destroy());
      }
    });
    await assert.rejects(
      getJson(nodeElsewhere(url), '/other'),
      refused(/no litefs-lite node$/, /http\.addr/),
    );
    await assert.rejects(getJson(nodeElsewhere(url), '/half'), refused(/aborted/));
  });

  it('sends a body, and fails when that fails', async () => {
    const url = await listening(async (request, response) => {
      response.end(JSON.stringify(await text(request).catch(() => '')));
    });
    const answer = await openRequest('POST', nodeElsewhere(url), '/import', {
      body: Readable.from(['a', 'b']),
    });
    assert.equal(await text(answer), '"ab"');
    const broken = new Readable({
      read() {
        this.destroy(new Error('EIO: it cannot be read'));
      },
    });
    await assert.rejects(
      openRequest('POST', nodeElsewhere(url), '/import', { body: broken }),
      refused(/EIO/),
    );
  });
});
