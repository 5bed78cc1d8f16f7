/**
 * Applications under a node's supervision: shell commands that use Debian's `sqlite3`. What they write to their
 * standard error comes out among the lines of the daemon's log.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import type { TestNode } from './cluster.ts';

/** A line of an app: `app> …` on its standard error. */
const SAID = /^app> (.*)$/;

/** `stay` ends with the mount: no app outlives a daemon that a failed test has killed. */
const FUNCTIONS = `
say() { echo "app> $*" >&2; }
stay() { while [ -e "$LITEFS_DIR/.lag" ]; do sleep 0.05; done; }
`;

/** The words of a command that runs a script; `say` in it writes a line for `said`, `stay` goes on. */
export function shell(script: string): string[] {
  return ['sh', '-c', FUNCTIONS + script];
}

/** The same as one text, as `exec` in a config file has it: variables are the app's, not the file's. */
export function shellText(script: string): string {
  return shell(script)
    .map((word) => `'${word.replaceAll("'", `'\\''`)}'`)
    .join(' ')
    .replaceAll('$', '$$$$');
}

/** What the apps of this node have said so far. */
export function said(node: TestNode): string[] {
  return node.log.flatMap(({ msg }) => SAID.exec(msg)?.[1] ?? []);
}

/** The output of `sqlite3 file sql`. Fails the test when it fails. */
export function sqlite3(file: string, sql: string): string {
  const run = spawnSync('sqlite3', ['-batch', '-bail', file, sql], { encoding: 'utf8' });
  assert.equal(run.status, 0, `sqlite3: ${run.stderr || run.error}`);
  return run.stdout.trim();
}
