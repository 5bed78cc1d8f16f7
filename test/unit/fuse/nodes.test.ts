import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Node, NodeTree } from '../../../src/fuse/nodes.ts';

test('a path follows the renames of its directories', () => {
  const tree = new NodeTree();
  const a = tree.enter(tree.root, 'a', 'A');
  const b = tree.enter(a, 'b', 'B');
  const c = tree.enter(b, 'c', 'C');
  assert.equal(tree.path(c), 'a/b/c');
  tree.move(tree.root, 'a', tree.root, 'z');
  assert.equal(tree.path(c), 'z/b/c');
  tree.move(a, 'b', tree.root, 'b');
  assert.equal(tree.path(c), 'b/c');
  tree.detach(tree.root, 'b');
  assert.equal(tree.path(c), undefined);
  assert.equal(tree.path(tree.root), '');
});

test('a file with two names is one node, and its path is a name it still has', () => {
  const tree = new NodeTree();
  const one = tree.enter(tree.root, 'one', 'X');
  const two = tree.enter(tree.root, 'two', 'X');
  assert.equal(one, two);
  tree.detach(tree.root, 'two');
  assert.equal(tree.path(one), 'one');
  tree.detach(tree.root, 'one');
  assert.equal(tree.path(one), undefined);
  assert.equal(tree.get(one.id), one, 'the kernel still knows it');
});

test('a file whose backing file is gone is not taken for a later one of its identity', () => {
  const tree = new NodeTree();
  const old = tree.enter(tree.root, 'f', 'X');
  tree.detach(tree.root, 'f');
  tree.disown(old);
  const later = tree.enter(tree.root, 'f', 'X');
  assert.notEqual(later.id, old.id);
  assert.equal(tree.get(old.id), old);
});

test('names that are exchanged keep what is below them', () => {
  const tree = new NodeTree();
  const a = tree.enter(tree.root, 'a', 'A');
  const below = tree.enter(a, 'x', 'X');
  const b = tree.enter(tree.root, 'b', 'B');
  tree.exchange(tree.root, 'a', tree.root, 'b');
  assert.deepEqual([tree.path(a), tree.path(b), tree.path(below)], ['b', 'a', 'b/x']);
  // The kernel need not know the other one.
  tree.exchange(tree.root, 'b', tree.root, 'unknown');
  assert.deepEqual([tree.path(a), tree.path(below)], ['unknown', 'unknown/x']);
  assert.equal(tree.child(tree.root, 'b'), undefined);
});

/** A step: enter, detach, move or forget, on small numbers of names and files. */
const step = fc.record({
  kind: fc.constantFrom('enter', 'detach', 'move', 'forget'),
  name: fc.constantFrom('a', 'b', 'c'),
  inside: fc.boolean(),
  other: fc.constantFrom('a', 'b', 'c'),
  key: fc.constantFrom('1', '2', '3', '4'),
});

test('once the kernel has forgotten all, nothing is left', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const tree = new NodeTree();
      const folder = tree.enter(tree.root, 'folder', 'folder');
      const owed = new Map<Node, number>([[folder, 1]]);
      for (const { kind, name, inside, other, key } of steps) {
        const parent = inside ? folder : tree.root;
        const node = tree.child(parent, name);
        if (kind === 'enter') {
          const entered = tree.enter(parent, name, key);
          owed.set(entered, (owed.get(entered) ?? 0) + 1);
          assert.equal(tree.child(parent, name), entered);
          assert.ok(entered.names.some((known) => known.parent === parent && known.name === name));
          assert.notEqual(tree.path(entered), undefined);
        } else if (kind === 'detach') {
          tree.detach(parent, name);
          assert.equal(tree.child(parent, name), undefined);
        } else if (kind === 'move' && (parent !== tree.root || name !== other)) {
          tree.detach(tree.root, other);
          tree.move(parent, name, tree.root, other);
          if (node && owed.has(node)) assert.equal(tree.child(tree.root, other), node);
        } else if (kind === 'forget' && node) {
          tree.forget(node.id, owed.get(node) ?? 0);
          owed.delete(node);
          assert.equal(tree.get(node.id), undefined);
        }
      }
      for (const [node, count] of owed) {
        assert.equal(tree.get(node.id), node, 'the kernel may still ask for it');
        tree.forget(node.id, count);
      }
      assert.equal(tree.size, 1);
      assert.equal(tree.root.children.size, 0);
    }),
  );
});

test('a node lives while it is open, though forgotten', () => {
  const tree = new NodeTree();
  const node = tree.enter(tree.root, '.state', undefined);
  node.shown = { file: { content: Buffer.alloc(0), mtimeMs: 0 }, handles: 1 };
  tree.forget(node.id, 1);
  assert.equal(tree.path(node), '.state');
  node.shown = undefined;
  tree.closed(node);
  assert.equal(tree.size, 1);
});
