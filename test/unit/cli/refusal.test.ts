/** What a command makes of a node's refusal: its code, and with it its exit status. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { getGuardedJson, getJson } from '../../../src/cli/client.ts';
import { nodeElsewhere } from '../../../src/cli/node-url.ts';
import { LiteFsError } from '../../../src/errors.ts';
import { HttpFault } from '../../../src/http/fault.ts';
import type { Route } from '../../../src/http/router.ts';
import { admits, withServer } from '../http/serve.ts';

async function refusal(handle: () => unknown, path = '/x'): Promise<LiteFsError> {
  let caught: unknown;
  await withServer(
    { routes: [{ method: 'GET', path: '/x', access: 'public', handle }] },
    async (port) => {
      caught = await getJson(nodeElsewhere(`http://127.0.0.1:${port}`), path).catch(
        (error) => error,
      );
    },
  );
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
    assert.equal(await status(403, 'FORBIDDEN'), 77);
    assert.equal(await status(503, 'TOO_MANY'), 75);
    assert.equal(await status(500, 'toString'), 75);
    assert.equal((await refusal(() => ({}), '/nothing')).exitStatus, 66);
  });

  test('what was shown to it has another hint than its own, which is for who writes requests', async () => {
    const route: Route = { method: 'GET', path: '/x', access: 'guarded', handle: () => ({}) };
    await withServer({ routes: [route], admission: admits('sesame') }, async (port) => {
      const url = `http://127.0.0.1:${port}`;
      await assert.rejects(getJson(nodeElsewhere(url), '/x'), {
        code: 'PEER_REJECTED',
        hint: /LITEFS_SECRET/,
      });
      const shown = (secret: string) => ({ ...nodeElsewhere(url), secret });
      await assert.rejects(getGuardedJson(shown('other'), '/x', 5000), {
        code: 'PEER_REJECTED',
        message: /is not the secret of the node/,
        hint: /^LITEFS_SECRET /,
      });
      assert.deepEqual(await getGuardedJson(shown('sesame'), '/x', 5000), {});
    });
  });

  test('its status is shown a token, and not before it asks for one', async () => {
    const shown: (string | undefined)[] = [];
    const route: Route = {
      method: 'GET',
      path: '/info',
      access: 'status',
      handle({ request }) {
        shown.push(request.headers.authorization);
        return {};
      },
    };
    const ask = (port: number, statusToken?: string) =>
      getJson(nodeElsewhere(`http://127.0.0.1:${port}`, statusToken), '/info');
    await withServer({ routes: [route] }, (port) => ask(port, 'peephole').then(() => {}));
    assert.deepEqual(shown, [undefined]);
    await withServer(
      { routes: [route], admission: admits(undefined, 'peephole') },
      async (port) => {
        assert.deepEqual(await ask(port, 'peephole'), {});
        assert.deepEqual(shown, [undefined, 'Bearer peephole']);
        for (const token of [undefined, 'other']) {
          await assert.rejects(ask(port, token), {
            code: 'PEER_REJECTED',
            message: /the token for the status of the node$/,
            hint: /LITEFS_STATUS_TOKEN to its http\.status-token/,
          });
        }
      },
    );
  });
});
