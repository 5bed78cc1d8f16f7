/** What the status page shows to a node that wants a token, and when it asks for one. */
import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import { Access, Refused } from '../../../../src/http/page/client/access.js';

const { fetch } = globalThis;
const signal = new AbortController().signal;

/** A node that takes this token; what was shown to it. */
function nodeThatTakes(token: string): (string | null)[] {
  const shown: (string | null)[] = [];
  globalThis.fetch = async (_, init) => {
    const given = new Headers(init?.headers).get('authorization');
    shown.push(given);
    return new Response('{}', { status: given === `Bearer ${token}` ? 200 : 401 });
  };
  return shown;
}

/** As sessionStorage. */
function store(kept: Record<string, string> = {}) {
  return {
    kept,
    getItem: (key: string) => kept[key] ?? null,
    setItem: (key: string, value: string) => {
      kept[key] = value;
    },
    removeItem: (key: string) => {
      delete kept[key];
    },
  };
}

const isOpen = (access: Access) =>
  Promise.race([access.open().then(() => true), new Promise((done) => setImmediate(done, false))]);

describe('a page', () => {
  afterEach(() => {
    globalThis.fetch = fetch;
  });

  it('shows nothing until it is refused, and then waits for a token, which its tab keeps', async () => {
    const shown = nodeThatTakes('right');
    const tab = store();
    const access = new Access(tab);
    assert.equal(await isOpen(access), true);
    await assert.rejects(access.ask('/info', signal), Refused);
    assert.equal(await isOpen(access), false);
    access.enter('right');
    assert.equal(await isOpen(access), true);
    assert.equal((await access.ask('/info', signal)).status, 200);
    assert.deepEqual(shown, [null, 'Bearer right']);
    assert.deepEqual(Object.values(tab.kept), ['right']);
    // After a reload.
    const again = new Access(tab);
    assert.equal(again.hasToken, true);
    assert.equal((await again.ask('/info', signal)).status, 200);
  });

  it('forgets a token that is refused', async () => {
    nodeThatTakes('right');
    const tab = store();
    const access = new Access(tab);
    access.enter('wröng 東');
    await assert.rejects(access.ask('/info', signal), Refused);
    assert.equal(await isOpen(access), false);
    assert.deepEqual(tab.kept, {});
    assert.equal(access.hasToken, true, 'so that it can say that it was wrong');
  });

  it('does not close for an answer to the token before', async () => {
    const answers: ((response: Response) => void)[] = [];
    globalThis.fetch = () => new Promise((resolve) => answers.push(resolve));
    const access = new Access();
    const asked = access.ask('/info', signal);
    access.enter('right');
    answers[0](new Response('', { status: 401 }));
    await assert.rejects(asked, Refused);
    assert.equal(await isOpen(access), true);
  });
});
