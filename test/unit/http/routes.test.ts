/**
 * For whom each route of the node is. On 25311ce all but POST and DELETE and /export were for everybody, and those for all
 * programs of the machine. A new route belongs into this table, after some thought: what is public can be read by every user
 * of the machine, every web page that is open on it, and whoever reaches the port.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { apiRoutes, type NodeApi } from '../../../src/http/routes.ts';
import { admits, ask, withServer } from './serve.ts';

const PUBLIC = [
  'GET /',
  'GET /databases',
  'GET /events',
  'GET /healthz',
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

  it('are public or guarded, each as this table has it', () => {
    const named = (access: string) =>
      routes
        .filter((route) => route.access === access && !route.path.startsWith('/page/'))
        .map(({ method, path }) => `${method} ${path}`)
        .sort();
    assert.deepEqual(named('public'), PUBLIC);
    assert.deepEqual(named('guarded'), GUARDED);
    const page = routes.filter(({ path }) => path.startsWith('/page/'));
    assert.deepEqual(
      [...new Set(page.map(({ method, access }) => `${method} ${access}`))],
      ['GET public'],
    );
    assert.equal(routes.length, PUBLIC.length + GUARDED.length + page.length);
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
});
