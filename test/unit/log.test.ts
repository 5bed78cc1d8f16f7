/** A log that cannot be written. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
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
