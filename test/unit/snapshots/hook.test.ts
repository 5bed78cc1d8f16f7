/** Commands before and after a run, by a real sh. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { runHook } from '../../../src/snapshots/hook.ts';
import { until } from '../../harness/cluster.ts';

const LONG_MS = 60_000;

test('a command may write as much as it likes: the end of it is shown', async () => {
  const command = "head -c 3000000 /dev/zero | tr '\\0' x; echo last words >&2; exit 3";
  const { ok, text } = await runHook(command, {}, LONG_MS);
  assert(!ok);
  assert.match(text, /^exit status 3: /);
  assert.match(text, /last words/);
  assert(text.length < 600, `${text.length} characters`);
  const quiet = await runHook('head -c 3000000 /dev/zero; true', {}, LONG_MS);
  assert(quiet.ok, quiet.text.slice(0, 100));
});

test('after its time all that it started is ended', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-test-'));
  try {
    const file = path.join(folder, 'pid');
    const { ok, text } = await runHook(`sleep 600 & echo $! > ${file}; wait`, {}, 500);
    assert(!ok);
    assert.match(text, /^ended after 0\.5 s: ended by SIGTERM/);
    const pid = Number(fs.readFileSync(file, 'utf8'));
    await until('its child is gone', () => !fs.existsSync(`/proc/${pid}`));
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
});

test('more names than a variable can have are cut off at the end of a line', async () => {
  const names = Array.from({ length: 50_000 }, (_, index) => `database-${index}.db`);
  const command = 'printf %s "$NAMES" | tail -n 2';
  const { ok, text } = await runHook(command, { NAMES: names.join('\n') }, LONG_MS);
  assert(ok, text);
  assert.match(text, /^exit status 0: database-\d+\.db\n\.\.\.$/);
});

test('a command that the system refuses has failed', async () => {
  const { ok, text } = await runHook(`: ${'x'.repeat(200_000)}`, {}, LONG_MS);
  assert(!ok);
  assert.match(text, /E2BIG/);
});
