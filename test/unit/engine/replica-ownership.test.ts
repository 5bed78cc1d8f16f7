import assert from 'node:assert/strict';
import fs from 'node:fs';
import { mock, test } from 'node:test';
import { takeOwnership } from '../../../src/engine/apply/replica-ownership.ts';
import type { EngineContext } from '../../../src/engine/core/context.ts';
import { withFolder } from '../os/folder.ts';
import { NodeStand } from './node-stand.ts';

const ROOT = { uid: 0, gid: 0, mode: 0o755, user: 'root', group: 'root' };
const TOLD = { file: { ...ROOT, uid: 4301, user: '', mode: 0o644 }, folders: [ROOT] };

for (const code of ['EPERM', 'EINVAL']) {
  test(`a database that cannot be given away (${code}) stays root's, and is replicated all the same`, () =>
    withFolder((folder) => {
      const stand = new NodeStand(folder);
      fs.writeFileSync(stand.file, Buffer.alloc(512), { mode: 0o600 });
      stand.db.sums.resize(1);
      const said: string[] = [];
      const ctx: EngineContext = {
        ...stand.ctx,
        log: (level, text) => void said.push(`${level} ${text}`),
      };
      const refused = mock.method(fs, 'fchownSync', () => {
        throw Object.assign(new Error(code), { code, errno: -1 });
      });
      try {
        takeOwnership(ctx, stand.db, TOLD);
      } finally {
        refused.mock.restore();
        stand.db.files.close();
      }
      assert.match(said.join(), /^warn .* cannot be given to its owner here/);
      assert.equal(fs.statSync(stand.file).mode & 0o777, 0o600);
      assert.deepEqual(stand.db.ownership, TOLD);
    }));
}
