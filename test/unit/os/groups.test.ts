/** The number of a group. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { groupId } from '../../../src/os/groups.ts';
import { withFolder } from './folder.ts';

test('is what /etc/group has for its whole name, else it is not known', () =>
  withFolder((dir) => {
    const file = path.join(dir, 'group');
    fs.writeFileSync(file, 'root:x:0:\nlitefs:x:7:a,b\nlitefs-lite:x:997:\nodd:x\n+\n');
    assert.equal(groupId('litefs-lite', file), 997);
    assert.equal(groupId('litefs', file), 7);
    assert.equal(groupId('root', file), 0);
    for (const name of ['lite', 'odd', 'x', '']) assert.equal(groupId(name, file), undefined, name);
    assert.equal(groupId('root', path.join(dir, 'none')), undefined);
    assert.equal(groupId('root'), 0);
  }));
