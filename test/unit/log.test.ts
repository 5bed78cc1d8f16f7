/** A log that cannot be written, and one with names in it that are no text. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { it } from 'node:test';

const LOG = path.resolve(import.meta.dirname, '../../src/log.ts');

for (const format of ['json', 'text']) {
  it(`ends nothing when its disk is full (${format})`, () => {
    const full = fs.openSync('/dev/full', 'w');
    try {
      const script = `
        const { createLogger } = await import(${JSON.stringify(LOG)});
        const log = createLogger({ format: '${format}', timestamp: true, debug: false });
        for (let i = 0; i < 3; i++) log.info('a line');
        setImmediate(() => console.log('it goes on'));`;
      const { stdout, status } = spawnSync(process.execPath, ['-e', script], {
        stdio: ['ignore', 'pipe', full],
        encoding: 'utf8',
      });
      assert.deepEqual([stdout, status], ['it goes on\n', 0]);
    } finally {
      fs.closeSync(full);
    }
  });
}

// On 25311ce a text log had them as they were: a host or a file called so wrote lines of its own, and commanded the terminal.
it('has one line for each message, whatever names are in it', () => {
  for (const format of ['json', 'text']) {
    const script = `
      const { createLogger } = await import(${JSON.stringify(LOG)});
      const log = createLogger({ format: '${format}', timestamp: false, debug: false });
      const bad = 'box2\\nINFO: box1 is the primary\\u001b[2J\\u202e\\u009b1A';
      log.warn({ database: bad }, 'from ' + bad);
      log.warn(bad);
      log.error(new Error(bad));
      log.error({ err: new Error(bad) }, bad);`;
    const { stderr, status } = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    const lines = stderr.trimEnd().split('\n');
    assert.equal(lines.length, 4, stderr);
    const shown = format === 'text' ? lines : lines.map((line) => JSON.parse(line).msg);
    for (const line of shown) {
      assert.match(line, /box2\\x0aINFO: box1 is the primary\\x1b\[2J\\u\{202e\}\\x9b1A$/);
    }
  }
});

it('has priorities in the journal, and the time of the journal', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-log-'));
  const file = path.join(folder, 'journal');
  const out = fs.openSync(file, 'w');
  try {
    const script = `
      const { createLogger } = await import(${JSON.stringify(LOG)});
      const log = createLogger({ format: 'auto', timestamp: false, debug: true });
      log.debug('one'); log.info({ a: 1 }, 'two'); log.warn('three\\nfour');
      log.error({ err: new TypeError('five') }, 'six'); log.fatal('seven');`;
    const run = (stream: string) => {
      fs.ftruncateSync(out, 0);
      const env = { ...process.env, JOURNAL_STREAM: stream };
      spawnSync(process.execPath, ['-e', script], { stdio: ['ignore', 'ignore', out], env });
      return fs.readFileSync(file, 'utf8').replaceAll('\0', '').split('\n');
    };
    const { dev, ino } = fs.fstatSync(out);
    const lines = run(`${dev}:${ino}`);
    assert.deepEqual(lines, ['<7>one', '<6>two', '<4>three\\x0afour', '<3>six', '<2>seven', '']);
    assert.equal(JSON.parse(run('1:1')[1]).msg, 'two', 'another stream is no journal');
  } finally {
    fs.closeSync(out);
    fs.rmSync(folder, { recursive: true, force: true });
  }
});
