/** Commands before and after a run, by a real sh. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { runHook } from '../../../src/snapshots/hook.ts';
import { until } from '../../harness/cluster.ts';

const never = new AbortController().signal;
const LONG = { msMax: 60_000, stop: never };

test('a command may write as much as it likes: the end of it is shown', async () => {
  const command = "head -c 3000000 /dev/zero | tr '\\0' x; echo last words >&2; exit 3";
  const { ok, text } = await runHook(command, {}, LONG);
  assert(!ok);
  assert.match(text, /^exit status 3: /);
  assert.match(text, /last words/);
  assert(text.length < 600, `${text.length} characters`);
  const quiet = await runHook('head -c 3000000 /dev/zero; true', {}, LONG);
  assert(quiet.ok, quiet.text.slice(0, 100));
});

for (const why of ['after its time', 'when the node stops']) {
  test(`${why} all that it started is ended`, async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-test-'));
    const over = new AbortController();
    try {
      const file = path.join(folder, 'pid');
      const isStopped = why === 'when the node stops';
      const limits = { msMax: isStopped ? LONG.msMax : 500, stop: over.signal };
      const ends = runHook(`sleep 600 & echo $! > ${file}; wait`, {}, limits);
      if (isStopped) {
        await until('it goes', () => fs.existsSync(file) && fs.statSync(file).size > 0);
        over.abort();
      }
      const { ok, text } = await ends;
      assert(!ok);
      assert.match(text, /^(ended after 0\.5 s|the node stops): ended by SIGTERM/);
      const pid = Number(fs.readFileSync(file, 'utf8'));
      await until('its child is gone', () => !fs.existsSync(`/proc/${pid}`));
    } finally {
      over.abort();
      fs.rmSync(folder, { recursive: true, force: true });
    }
  });
}

test('more names than a variable can have are cut off at the end of a line', async () => {
  const names = Array.from({ length: 50_000 }, (_, index) => `database-${index}.db`);
  const command = 'printf %s "$NAMES" | tail -n 2';
  const { ok, text } = await runHook(command, { NAMES: names.join('\n') }, LONG);
  assert(ok, text);
  assert.match(text, /^exit status 0: database-\d+\.db\n\.\.\.$/);
});

test('a command that the system refuses has failed', async () => {
  const { ok, text } = await runHook(`: ${'x'.repeat(200_000)}`, {}, LONG);
  assert(!ok);
  assert.match(text, /E2BIG/);
});
