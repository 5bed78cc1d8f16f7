/**
 * An entry of the log whose header says that it leads further than the table of checksums, and that cannot be read. On 0cf578f the
 * log was cut off before it, and ended before the position: the next transaction failed an assertion, at each start anew.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { EngineStand } from '../../harness/engine-stand.ts';
import { withFolder } from '../os/folder.ts';

/** In an LTX file, behind the length that a segment has before it. */
const MAX_TXID_OFFSET = 4 + 24;

test('a log that is cut off before the position begins anew', () =>
  withFolder(async (dir) => {
    const stand = new EngineStand(dir);
    await stand.start();
    await stand.commit('app.db', 'PRAGMA page_size=512; CREATE TABLE t(x);');
    for (let i = 0; i < 3; i++) await stand.commit('app.db', 'INSERT INTO t VALUES(1);');
    const { txid } = stand.database('app.db').position;
    await stand.stop();
    stand.die();
    fs.rmSync(path.join(dir, 'state/app.db.json'));
    const [name, ...others] = fs.readdirSync(path.join(dir, 'ltx/app.db'));
    assert.deepEqual(others, []);
    const segment = path.join(dir, 'ltx/app.db', name);
    const bytes = fs.readFileSync(segment);
    let last = 0;
    for (let at = 0; at < bytes.length; at += 4 + bytes.readUInt32BE(at)) last = at;
    bytes.writeBigUInt64BE(BigInt(txid + 5), last + MAX_TXID_OFFSET);
    fs.writeFileSync(segment, bytes);
    const again = new EngineStand(dir);
    try {
      await again.start();
      await again.commit('app.db', 'INSERT INTO t VALUES(2);');
      const { status, position } = again.database('app.db');
      assert.equal(status.state, 'ok');
      assert(position.txid > txid);
    } finally {
      again.die();
    }
  }));
