/** The files that exist in the mount only: `.primary`, `.lag`, `<database>-pos`. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { SharedState } from '../../../src/mount/shared-state.ts';
import { SqlitePolicy } from '../../../src/mount/sqlite-policy.ts';
import { withFolder } from '../os/folder.ts';

function withMount(body: (policy: SqlitePolicy, shared: SharedState) => void): Promise<void> {
  return withFolder((tree) => {
    fs.mkdirSync(path.join(tree, 'sub'));
    for (const name of ['app.db', 'sub/b.db']) {
      fs.writeFileSync(path.join(tree, name), `SQLite format 3\0${'x'.repeat(84)}`);
    }
    fs.writeFileSync(path.join(tree, 'notes.txt'), 'text');
    fs.writeFileSync(path.join(tree, 'empty.db'), '');
    const shared = new SharedState();
    const parts = { treeRoot: tree, cutsDir: tree, shared, replicates: () => true, send: () => {} };
    body(new SqlitePolicy(parts), shared);
  });
}

test('a database has a -pos file, and nothing else has', () =>
  withMount((policy) => {
    for (const name of ['app.db-pos', 'sub/b.db-pos']) {
      assert.equal(policy.virtual(name)?.content.length, 34, name);
    }
    const none = ['notes.txt-pos', 'empty.db-pos', 'absent.db-pos', 'sub-pos', '-pos', 'app.db'];
    for (const name of none) assert.equal(policy.virtual(name), undefined, name);
  }));

test('opening a -pos file waits for the engine, and shows its answer', () =>
  withMount((policy, shared) => {
    assert.equal(policy.openVirtual('app.db-pos', false), 'defer');
    const answer = '0000000000000007/8000000000000001\n';
    shared.setAnswer(answer);
    const opened = policy.openVirtual('app.db-pos', true);
    assert(opened !== 'defer');
    assert.equal(opened.content.toString(), answer);
  }));

test('.primary is there when somebody else is', () =>
  withMount((policy, shared) => {
    shared.setPrimary(undefined);
    assert.equal(policy.virtual('.primary'), undefined);
    shared.setPrimary('node-a');
    assert.equal(policy.virtual('.primary')?.content.toString(), 'node-a\n');
    const opened = policy.openVirtual('.primary', false);
    assert(opened !== 'defer' && opened.content.toString() === 'node-a\n');
  }));

test('.primary that goes between look-up and open is empty', () =>
  withMount((policy, shared) => {
    shared.setPrimary(undefined);
    const opened = policy.openVirtual('.primary', false);
    assert(opened !== 'defer' && opened.content.length === 0);
  }));

test('.lag is a sign and nine digits, or more; 0 on a primary, the largest int32 before the first sync', () =>
  withMount((policy, shared) => {
    const lag = () => policy.virtual('.lag')?.content.toString();
    shared.role = 'replica';
    shared.setLag(undefined, 0);
    assert.equal(lag(), '+2147483647\n');
    const cases: [number, string][] = [
      [0, '+000000000\n'],
      [12.6, '+000000013\n'],
      [2 ** 40, '+2147483647\n'],
    ];
    for (const [lagMs, text] of cases) {
      shared.setLag(lagMs, 1_700_000_000_000);
      assert.equal(lag(), text);
      assert.equal(policy.virtual('.lag')?.mtimeMs, 1_700_000_000_000, 'the clock of the primary');
    }
    shared.role = 'primary';
    assert.equal(lag(), '+000000000\n');
  }));

test('a listing shows those of the node, and none of the databases', () =>
  withMount((policy, shared) => {
    shared.setPrimary(undefined);
    assert.deepEqual(policy.virtualNames(''), ['.lag']);
    shared.setPrimary('node-a');
    assert.deepEqual(policy.virtualNames(''), ['.primary', '.lag']);
    assert.deepEqual(policy.virtualNames('sub'), []);
  }));

test('only a primary promises that a journal or -wal stays absent', () =>
  withMount((policy, shared) => {
    const names = ['app.db-journal', 'app.db-wal', 'app.db-shm', 'app.db'];
    shared.role = 'primary';
    assert.deepEqual(
      names.filter((name) => policy.isAbsenceLasting(name)),
      ['app.db-journal', 'app.db-wal'],
    );
    shared.role = 'replica';
    assert.deepEqual(
      names.filter((name) => policy.isAbsenceLasting(name)),
      [],
    );
  }));
