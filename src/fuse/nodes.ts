/**
 * The inodes that the kernel knows, by its number for them (node id) and by their names.
 *
 * A node lives as long as the kernel remembers it (lookups minus forgets), has it open, or a node
 * below it lives. Ids are never used twice. A file with several names is one node; its path is any
 * of those. A file without a name is one that was removed while still in use.
 */
import assert from 'node:assert';
import type { OpenFile } from './open-file.ts';
import type { VirtualFile } from './policy.ts';
import { ROOT_ID } from './protocol.ts';

interface NodeName {
  readonly parent: Node;
  readonly name: string;
}

export class Node {
  readonly id: number;
  /** Identity of the backing file; undefined for virtual files and for removed ones. */
  key: string | undefined;
  readonly isVirtual: boolean;
  /** How often the kernel was told of this node, less what it has forgotten. */
  lookups = 0;
  /** The newest first. */
  names: NodeName[] = [];
  readonly children = new Map<string, Node>();
  /** While anybody has it open. */
  open: OpenFile | undefined;
  /** While a virtual file is open: what the latest opener was given, and how many there are. */
  shown: { file: VirtualFile; handles: number } | undefined;
  /** What the backing file was like when it was last closed: see `OpenFile`. */
  closedAs: string | undefined;

  constructor(id: number, key: string | undefined, isVirtual: boolean) {
    this.id = id;
    this.key = key;
    this.isVirtual = isVirtual;
  }
}

export class NodeTree {
  readonly root = new Node(ROOT_ID, undefined, false);
  readonly #byId = new Map<number, Node>([[ROOT_ID, this.root]]);
  readonly #byKey = new Map<string, Node>();
  #nextId = ROOT_ID + 1;

  /** How many nodes there are, the root included. */
  get size(): number {
    return this.#byId.size;
  }

  get(id: number): Node | undefined {
    return this.#byId.get(id);
  }

  child(parent: Node, name: string): Node | undefined {
    return parent.children.get(name);
  }

  /** '' for the root; undefined when it, or a directory above it, has no name any more. */
  path(node: Node): string | undefined {
    if (node === this.root) return '';
    if (node.names.length === 0) return undefined;
    const { parent, name } = node.names[0];
    return this.childPath(parent, name);
  }

  childPath(parent: Node, name: string): string | undefined {
    if (parent === this.root) return name;
    const above = this.path(parent);
    return above === undefined ? undefined : `${above}/${name}`;
  }

  /**
   * The node of a name that the kernel is about to be told of: counts as a lookup.
   * @param key identity of the backing file, undefined for a virtual one
   */
  enter(parent: Node, name: string, key: string | undefined): Node {
    const current = parent.children.get(name);
    let node = key === undefined ? undefined : this.#byKey.get(key);
    if (key === undefined && current?.isVirtual) node = current;
    if (!node) {
      node = new Node(this.#nextId++, key, key === undefined);
      this.#byId.set(node.id, node);
      if (key !== undefined) this.#byKey.set(key, node);
    }
    node.lookups++;
    if (current !== node) {
      if (current) this.detach(parent, name);
      this.#attach(parent, name, node);
    }
    return node;
  }

  #attach(parent: Node, name: string, node: Node): void {
    parent.children.set(name, node);
    node.names.unshift({ parent, name });
  }

  /** A name is gone, or now means another file. */
  detach(parent: Node, name: string): Node | undefined {
    const node = parent.children.get(name);
    if (!node) return undefined;
    parent.children.delete(name);
    node.names = node.names.filter((other) => other.parent !== parent || other.name !== name);
    this.#reap(node);
    this.#reap(parent);
    return node;
  }

  /** The backing file is gone: another one may come to have its identity. */
  disown(node: Node): void {
    if (node.key === undefined) return;
    if (this.#byKey.get(node.key) === node) this.#byKey.delete(node.key);
    node.key = undefined;
  }

  /** After a rename: what is below moves along. Whatever had the new name must be detached before. */
  move(parent: Node, name: string, newParent: Node, newName: string): void {
    const node = parent.children.get(name);
    if (!node) return;
    assert(!newParent.children.has(newName), 'the new name is taken');
    // Attached first, so that it does not look unused.
    this.#attach(newParent, newName, node);
    this.detach(parent, name);
  }

  /** After a rename that let two names change places. */
  exchange(parent: Node, name: string, newParent: Node, newName: string): void {
    const one = parent.children.get(name);
    const two = newParent.children.get(newName);
    if (one) this.#attach(newParent, newName, one);
    if (two) this.#attach(parent, name, two);
    const drop = (node: Node | undefined, from: Node, old: string, taken: Node | undefined) => {
      if (!node) return;
      node.names = node.names.filter((other) => other.parent !== from || other.name !== old);
      if (!taken) from.children.delete(old);
    };
    drop(one, parent, name, two);
    drop(two, newParent, newName, one);
    this.#reap(parent);
    this.#reap(newParent);
  }

  /** The kernel drops `count` of its lookups. */
  forget(id: number, count: number): void {
    const node = this.#byId.get(id);
    if (!node) return;
    node.lookups = Math.max(0, node.lookups - count);
    this.#reap(node);
  }

  /** To be called when a node's last handle was closed. */
  closed(node: Node): void {
    this.#reap(node);
  }

  #reap(node: Node): void {
    if (node === this.root || node.lookups > 0 || node.children.size > 0) return;
    if (node.open || node.shown) return;
    if (!this.#byId.delete(node.id)) return;
    this.disown(node);
    const names = node.names;
    node.names = [];
    for (const { parent, name } of names) {
      if (parent.children.get(name) === node) parent.children.delete(name);
      this.#reap(parent);
    }
  }
}
