/**
 * Loaded into the process of every test file (scripts/test.ts): whatever the file started, and a failed test has left, is
 * ended with it. A process that was left would keep the pipes of its output open, and the file would wait for it for ever.
 */
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import { after } from 'node:test';

/** All that the file starts inherits this, and so is known also when its parent has gone. */
const MARK = 'LITEFS_LITE_TEST_FILE';

const own = `${MARK}=${randomUUID()}`;

// The runner, which starts the files, loads this too.
if (process.env.NODE_TEST_CONTEXT) {
  process.env[MARK] = own.slice(MARK.length + 1);
  after(endLeftovers);
}

function endLeftovers(): void {
  for (const pid of processes()) {
    if (pid === process.pid || !isOurs(pid)) continue;
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has just ended.
    }
  }
}

function processes(): number[] {
  return fs
    .readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** The environment is the one that it was started with: that of this process, which made the mark, has none. */
function isOurs(pid: number): boolean {
  try {
    return fs.readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(own);
  } catch {
    return false;
  }
}
