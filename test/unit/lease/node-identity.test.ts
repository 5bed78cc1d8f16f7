/** node.json: what is in memory is on disk, also on one that cannot be written, and a cluster binds by its databases. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { NodeIdentity } from '../../../src/lease/node-identity.ts';
import { withFolder } from '../os/folder.ts';

const FACTS = {
  role: 'replica',
  hostname: 'box2',
  advertiseUrl: undefined,
  holding: 'databases',
} as const;
const EMPTY = { ...FACTS, holding: 'nothing' } as const;

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

test('what a replica without databases had of another life is gone from its file before anybody is met', () =>
  withFolder((folder) => {
    const file = path.join(folder, 'node.json');
    const alone = NodeIdentity.load(file, { ...EMPTY, role: 'primary' });
    assert.match(alone.clusterId, /^[0-9a-f]{16}$/);
    const replica = NodeIdentity.load(file, EMPTY);
    assert.deepEqual([replica.clusterId, replica.term], ['', 0]);
    assert.equal(replica.nodeId, alone.nodeId);
    assert.equal(JSON.parse(fs.readFileSync(file, 'utf8')).clusterId, '');
  }));

test('an id binds to nothing until the first database, which it is given without a write', (t) =>
  withFolder((folder) => {
    const file = path.join(folder, 'node.json');
    const primary = NodeIdentity.load(file, { ...EMPTY, role: 'primary' });
    assert.equal(primary.boundTo, '');
    fillDisk(t);
    assert.equal(primary.bind(), true);
    assert.equal(primary.bind(), false);
    assert.equal(primary.boundTo, primary.clusterId);
    t.mock.restoreAll();
    const again = NodeIdentity.load(file, { ...FACTS, role: 'primary' });
    assert.equal(again.boundTo, primary.clusterId);
    assert.equal(NodeIdentity.load(file, { ...FACTS, holding: 'unknown' }).boundTo, again.boundTo);
  }));
