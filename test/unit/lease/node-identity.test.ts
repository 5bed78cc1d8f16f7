/** node.json on a disk that cannot be written: said in one line, and what is in memory stays what is on disk. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { NodeIdentity } from '../../../src/lease/node-identity.ts';
import { withFolder } from '../os/folder.ts';

const FACTS = { role: 'replica', hostname: 'box2', advertiseUrl: undefined } as const;

function fillDisk(t: TestContext): void {
  t.mock.method(fs, 'writeFileSync', () => {
    throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
  });
}

test('a full disk refuses the start with one line', (t) =>
  withFolder((folder) => {
    const file = path.join(folder, 'node.json');
    fillDisk(t);
    assert.throws(() => NodeIdentity.load(file, FACTS), {
      code: 'DISK',
      message: `cannot write ${file}: ENOSPC: no space left on device, write`,
    });
  }));

test('what could not be kept of a primary is kept when it is met again', (t) =>
  withFolder((folder) => {
    const file = path.join(folder, 'node.json');
    const identity = NodeIdentity.load(file, FACTS);
    fillDisk(t);
    assert.throws(() => identity.follow('c000000000000001', 3), { code: 'DISK' });
    assert.deepEqual([identity.clusterId, identity.term], ['', 0]);
    t.mock.restoreAll();
    identity.follow('c000000000000001', 3);
    const again = NodeIdentity.load(file, FACTS);
    assert.deepEqual([again.clusterId, again.term], ['c000000000000001', 3]);
    assert.equal(again.nodeId, identity.nodeId);
  }));

test('the role in which it served is another once the databases are recovered', () =>
  withFolder((folder) => {
    const file = path.join(folder, 'node.json');
    NodeIdentity.load(file, FACTS);
    const promoted = NodeIdentity.load(file, { ...FACTS, role: 'primary' });
    assert.deepEqual([promoted.role, promoted.formerRole], ['primary', 'replica']);
    assert.equal(promoted.term, 1);
    promoted.recovered();
    assert.equal(NodeIdentity.load(file, { ...FACTS, role: 'primary' }).formerRole, 'primary');
  }));
