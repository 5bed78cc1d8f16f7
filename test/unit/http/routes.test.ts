/**
 * For whom each route of the node is. On 25311ce all but POST and DELETE and /export were for everybody, and those for all
 * programs of the machine. A new route belongs into this table, after some thought: what is public can be read by every user
 * of the machine and whoever reaches the port, and so can the status, unless the node has a token for it.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { apiRoutes, type NodeApi } from '../../../src/http/routes.ts';
import { admits, ask, withServer } from './serve.ts';

const PUBLIC = ['GET /', 'GET /healthz'];
const STATUS = [
  'GET /databases',
  'GET /events',
  'GET /history',
  'GET /info',
  'GET /metrics',
  'GET /snapshots',
];
const GUARDED = [
  'DELETE /halt',
  'GET /export',
  'GET /verify',
  'POST /halt',
  'POST /import',
  'POST /increment',
  'POST /restore',
  'POST /snapshot',
];

describe('the routes of a node', () => {
  /** The node, of which nothing may be asked. */
  const untouched = new Proxy({} as NodeApi, {
    get(_, name) {
      throw new Error(`${String(name)} was asked for`);
    },
  });
  const routes = apiRoutes(untouched);

  it('are public, of the status, or guarded, each as this table has it', () => {
    const named = (access: string) =>
      routes
        .filter((route) => route.access === access && !route.path.startsWith('/page/'))
        .map(({ method, path }) => `${method} ${path}`)
        .sort();
    assert.deepEqual(named('public'), PUBLIC);
    assert.deepEqual(named('status'), STATUS);
    assert.deepEqual(named('guarded'), GUARDED);
    const page = routes.filter(({ path }) => path.startsWith('/page/'));
    assert.deepEqual(
      [...new Set(page.map(({ method, access }) => `${method} ${access}`))],
      ['GET public'],
    );
    assert.equal(routes.length, PUBLIC.length + STATUS.length + GUARDED.length + page.length);
  });

  it('that are guarded do nothing without the secret', async () => {
    const failed = (what: string) => assert.fail(what);
    await withServer({ routes, admission: admits('sesame'), failed }, async (port) => {
      for (const name of GUARDED) {
        const [method, path] = name.split(' ');
        for (const query of ['', '?name=app.db', '?name=app.db&id=7']) {
          const headers = { authorization: 'Bearer Sesame' };
          for (const options of [{}, { headers }]) {
            const { status, text } = await ask(port, method, `${path}${query}`, options);
            assert.equal(status, 401, `${name}${query}`);
            const { code, hint } = JSON.parse(text) as { code: string; hint: string };
            assert.equal(code, 'UNAUTHORIZED');
            assert.match(hint, /replication\.secret/);
          }
        }
      }
    });
  });

  it('that are of the status are for who shows its token, or the secret, and that token opens nothing else', async () => {
    const failed = (what: string) => assert.fail(what);
    const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
    const node = { health: async () => ({ status: 'unhealthy', reasons: ['app.db: no'] }) };
    const known = apiRoutes(node as unknown as NodeApi);
    for (const secret of ['sesame', undefined]) {
      const admission = admits(secret, 'peephole');
      await withServer({ routes, admission, failed }, async (port) => {
        for (const name of STATUS) {
          const [method, path] = name.split(' ');
          for (const asked of [method, 'HEAD']) {
            for (const options of [{}, bearer('Peephole'), bearer(''), bearer('undefined')]) {
              const { status, headers } = await ask(port, asked, path, options);
              assert.equal(status, 401, name);
              assert.match(headers['www-authenticate'] ?? '', /^Bearer /);
            }
          }
          const { text } = await ask(port, method, `${path}?token=peephole`);
          const { code, hint } = JSON.parse(text) as { code: string; hint: string };
          assert.equal(code, 'UNAUTHORIZED');
          assert.match(hint, /^Send "Authorization: Bearer <http\.status-token>"/);
        }
        for (const name of GUARDED) {
          const [method, path] = name.split(' ');
          const query = '?name=app.db&id=7';
          assert.equal(
            (await ask(port, method, path + query, bearer('peephole'))).status,
            401,
            name,
          );
        }
        for (const { path } of routes.filter(({ access }) => access === 'public')) {
          if (path !== '/healthz') assert.equal((await ask(port, 'GET', path)).status, 200, path);
        }
      });
      await withServer({ routes: known, admission }, async (port) => {
        const reasons = async (options: object) => {
          const { status, text } = await ask(port, 'GET', '/healthz', options);
          assert.equal(status, 503);
          return (JSON.parse(text) as { reasons: string[] }).reasons;
        };
        assert.deepEqual(await reasons({}), [], 'they name databases');
        assert.deepEqual(await reasons(bearer('peephole')), ['app.db: no']);
      });
      const opened: string[] = [];
      const told = (path: string) => (): object => {
        opened.push(path);
        return {};
      };
      const heard = routes
        .filter(({ access }) => access === 'status')
        .map((route) => ({ ...route, handle: told(route.path) }));
      await withServer({ routes: heard, admission }, async (port) => {
        for (const { path } of heard) {
          for (const token of ['peephole', ...(secret ? [secret] : [])]) {
            assert.equal((await ask(port, 'GET', path, bearer(token))).status, 200, path);
          }
        }
      });
      assert.equal(opened.length, STATUS.length * (secret ? 2 : 1));
    }
  });
});
