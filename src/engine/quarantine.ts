/** A file that cannot be understood is moved out of the way: one bad database must not stop the others. */
import fs from 'node:fs';
import path from 'node:path';
import type { EngineContext } from './context.ts';
import type { Database } from './database.ts';

/** Moves the database and its companions to quarantine/<time>/. */
export function quarantine(ctx: EngineContext, db: Database, reason: string): void {
  const when = new Date(ctx.wallClockMs()).toISOString().replace(/[:.]/g, '-');
  const dir = path.join(ctx.layout.quarantine, `${db.encoded}-${when}`);
  fs.mkdirSync(dir, { recursive: true });
  const file = db.files.backingPath('db').toString('latin1');
  for (const suffix of ['', '-wal', '-shm', '-journal']) {
    const from = Buffer.from(file + suffix, 'latin1');
    if (!fs.existsSync(from)) continue;
    fs.renameSync(from, path.join(dir, `${db.encoded}${suffix}`));
  }
  ctx.log('error', `${reason}; its files are in ${dir} now`, { database: db.name });
}
