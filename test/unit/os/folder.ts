import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** Runs `body` with a new folder, which goes with all that is in it. */
export async function withFolder(body: (folder: string) => void | Promise<void>): Promise<void> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-'));
  try {
    await body(folder);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}
