/** An import that is refused says why, though the node does not read what is sent. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { importDatabase } from '../../../src/cli/transfer.ts';
import { HttpFault } from '../../../src/http/fault.ts';
import type { Route } from '../../../src/http/router.ts';
import { admits, withServer } from '../http/serve.ts';

const FILE_BYTES = 16 * 2 ** 20;

test('an import that is refused before it was read says why', async () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-import-'));
  process.env.LITEFS_SECRET = 'sesame';
  try {
    const file = path.join(dir, 'a.db');
    fs.writeFileSync(file, Buffer.alloc(FILE_BYTES));
    const route: Route = {
      method: 'POST',
      path: '/import',
      access: 'guarded',
      handle({ request }) {
        // As one that has answered and closed by the time the body comes.
        if (request.headers['transfer-encoding']) request.socket.resetAndDestroy();
        throw new HttpFault(400, 'USAGE', 'that is no name');
      },
    };
    await withServer({ routes: [route], admission: admits('sesame') }, async (port) => {
      await assert.rejects(importDatabase('x', file, { url: `http://127.0.0.1:${port}` }), {
        code: 'USAGE',
        message: /that is no name$/,
      });
    });
  } finally {
    delete process.env.LITEFS_SECRET;
    fs.rmSync(dir, { recursive: true, force: true });
  }
});
