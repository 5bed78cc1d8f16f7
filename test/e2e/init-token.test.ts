/** How `init` gets its token: from a terminal without showing it, from a pipe, and from the command line with a warning. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { encodeToken } from '../../src/cli/join-token.ts';
import { program } from '../harness/cli.ts';
import { until } from '../harness/cluster.ts';
import { clearMountPoint } from '../harness/mount-points.ts';

const EXIT_USAGE = 64;
const SECRET = 'hush, this is of all the nodes';
const TOKEN = encodeToken({
  host: 'box1',
  replicationPort: 20204,
  httpPort: 20202,
  secret: SECRET,
});
const PROMPT = /What "litefs-lite token" printed on the primary \(it is not shown here\): /;

describe('the token of init', () => {
  let dir: string;
  let file: string;
  let child: ChildProcess | undefined;
  beforeEach(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-init-'));
    file = path.join(dir, 'replica.yml');
  });
  afterEach(() => {
    child?.kill('SIGKILL');
    clearMountPoint(path.join(dir, 'm'));
    fs.rmSync(dir, { recursive: true, force: true });
  });

  /** Starts `init`; on a terminal of its own when `onTerminal`. What it writes comes into `said`. */
  function start(token: string, onTerminal = false) {
    const words = [program(), 'init', '--token', token, '--dir', 'm', '--config', file];
    const [command, ...args] = onTerminal
      ? ['script', '-qec', words.map((word) => `'${word}'`).join(' '), '/dev/null']
      : words;
    const started = spawn(command, args, { cwd: dir, stdio: 'pipe' });
    child = started;
    let said = '';
    for (const stream of [started.stdout, started.stderr]) {
      stream.on('data', (text) => (said += text));
    }
    started.stdin.on('error', () => {});
    return {
      said: () => said,
      stdin: started.stdin,
      ended: once(started, 'close').then(([status]) => status as number | null),
    };
  }
  const hasSecret = () => fs.readFileSync(file, 'utf8').includes(SECRET);

  test('is asked for on a terminal, and not shown there', async () => {
    const run = start('-', true);
    await until('it asks', () => PROMPT.test(run.said()));
    run.stdin.write(`${TOKEN}\r`);
    assert.equal(await run.ended, 0, run.said());
    assert(hasSecret());
    assert.match(run.said(), /this node is a replica of box1/);
    assert(!run.said().includes(TOKEN.slice(5, 15)), run.said());
  });

  test('is none when the terminal ends it', async () => {
    for (const [key, name] of [
      ['\x04', 'Ctrl-D'],
      ['\x03', 'Ctrl-C'],
    ]) {
      const run = start('-', true);
      await until('it asks', () => PROMPT.test(run.said()));
      run.stdin.write(key);
      assert.equal(await run.ended, EXIT_USAGE, `${name}: ${run.said()}`);
      assert.match(run.said(), /no token was given/);
      assert(!fs.existsSync(file));
    }
  });

  test('comes through a pipe, with or without a newline', async () => {
    for (const text of [TOKEN, `${TOKEN}\n`]) {
      fs.rmSync(file, { force: true });
      const run = start('-');
      run.stdin.end(text);
      assert.equal(await run.ended, 0, run.said());
      assert(hasSecret());
      assert.doesNotMatch(run.said(), /list of processes/);
    }
  });

  test('is refused when the pipe has none, or does not end', async () => {
    for (const [text, why] of [
      ['', /is no token: one begins with lfl1\./],
      ['x'.repeat(10_000), /what comes from standard input is no token/],
    ] as const) {
      const run = start('-');
      run.stdin.write(text);
      if (text === '') run.stdin.end();
      assert.equal(await run.ended, EXIT_USAGE);
      assert.match(run.said(), why);
      assert(!fs.existsSync(file));
    }
  });

  test('is taken from the command line, with a word on who could see it', async () => {
    const run = start(TOKEN);
    assert.equal(await run.ended, 0, run.said());
    assert(hasSecret());
    assert.match(run.said(), /other users could see the token in the list of processes/);
  });
});
