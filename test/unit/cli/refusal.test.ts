/** What a command makes of a node's refusal: its code, and with it its exit status. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { getJson } from '../../../src/cli/client.ts';
import { LiteFsError } from '../../../src/errors.ts';
import { HttpFault } from '../../../src/http/fault.ts';
import { withServer } from '../http/serve.ts';

async function refusal(handle: () => unknown, path = '/x'): Promise<LiteFsError> {
  let caught: unknown;
  await withServer({ routes: [{ method: 'GET', path: '/x', handle }] }, async (port) => {
    caught = await getJson(`http://127.0.0.1:${port}`, path).catch((error) => error);
  });
  assert(caught instanceof LiteFsError, `${caught}`);
  return caught;
}

const fail = (error: Error) => () => {
  throw error;
};

describe('a node that refuses', () => {
  test('ends the command with the status of what it says', async () => {
    for (const [code, exitStatus] of [
      ['DATABASE_NOT_FOUND', 66],
      ['DATABASE_CORRUPT', 65],
      ['DATABASE_BUSY', 75],
      ['WRONG_STATE', 75],
      ['USAGE', 64],
      ['DISK', 74],
    ] as const) {
      const error = await refusal(fail(new LiteFsError(code, 'no', { hint: 'Do this.' })));
      assert.deepEqual([error.code, error.exitStatus, error.hint], [code, exitStatus, 'Do this.']);
      assert.match(error.message, /^http:\S+: no$/);
    }
  });

  test('also of what HTTP alone has', async () => {
    const status = async (http: number, code: string) =>
      (await refusal(fail(new HttpFault(http, code, 'no')))).exitStatus;
    assert.equal(await status(401, 'UNAUTHORIZED'), 77);
    const refused = await refusal(
      fail(new HttpFault(401, 'UNAUTHORIZED', 'no', { hint: 'Bearer' })),
    );
    assert.match(refused.hint ?? '', /LITEFS_SECRET/);
    assert.equal(await status(403, 'FORBIDDEN'), 77);
    assert.equal(await status(503, 'TOO_MANY'), 75);
    assert.equal(await status(500, 'toString'), 75);
    assert.equal((await refusal(() => ({}), '/nothing')).exitStatus, 66);
  });
});
