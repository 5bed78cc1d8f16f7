/** The main thread's side of the engine, with an engine that answers as it is told. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { it, mock } from 'node:test';
import type { MessagePort } from 'node:worker_threads';
import { EngineClient } from '../../../src/engine/client.ts';
import type { EngineRequest } from '../../../src/engine/protocol.ts';

it('removes the file of an entry of a resync when it is staged, and when it could not be', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-test-'));
  try {
    let refuses = false;
    const port = {
      postMessage({ id, call }: EngineRequest) {
        const isEntry = call === 'resyncEntry';
        if (isEntry) assert.equal(fs.readdirSync(folder).length, 1, 'it is there to be read');
        const wire = { code: 'LTX_CORRUPT', message: 'no', hint: undefined, stack: undefined };
        const error = isEntry && refuses ? (wire as never) : undefined;
        setImmediate(() => client.accept({ kind: 'reply', id, error, result: { resync: 1 } }));
      },
    };
    const client = new EngineClient({ port: port as unknown as MessagePort, wake() {} }, folder);
    const base = { position: { txid: 1, checksum: 1n }, pageSize: 512, pageCount: 1 };
    const resync = await client.beginResync('a.db', { ...base, diverged: false });
    const spool = () => {
      const file = path.join(folder, 'received');
      fs.writeFileSync(file, 'entry');
      return { database: 'a.db', source: { path: file } };
    };
    await resync.entry(spool());
    assert.deepEqual(fs.readdirSync(folder), []);
    refuses = true;
    await assert.rejects(resync.entry(spool()), { code: 'LTX_CORRUPT' });
    assert.deepEqual(fs.readdirSync(folder), []);
    // A disk that has become read-only says why it is not staged, not that the file stays.
    const remove = mock.method(fs.promises, 'rm', () => Promise.reject(new Error('EROFS')));
    await assert.rejects(resync.entry(spool()), { code: 'LTX_CORRUPT' });
    assert.equal(remove.mock.callCount(), 1);
    remove.mock.restore();
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
});
