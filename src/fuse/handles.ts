/** What the kernel has open, by the number (fh) that was given for it. */
import type { Listing } from './listing.ts';
import type { Node } from './nodes.ts';

export interface FileHandle {
  readonly kind: 'file';
  readonly node: Node;
  readonly writable: boolean;
  /** Thread that opened it: a RELEASE does not say who closes. */
  readonly pid: number;
}

export interface VirtualHandle {
  readonly kind: 'virtual';
  readonly node: Node;
  /** As it was when it was opened. */
  readonly content: Buffer;
}

export interface DirectoryHandle {
  readonly kind: 'directory';
  readonly node: Node;
  readonly fd: number;
  /** As it was when reading began at its start. */
  listing: Listing | undefined;
}

export type Handle = FileHandle | VirtualHandle | DirectoryHandle;

export class HandleTable {
  readonly #handles = new Map<number, Handle>();
  #next = 1;

  add(handle: Handle): number {
    const fh = this.#next++;
    this.#handles.set(fh, handle);
    return fh;
  }

  get(fh: number): Handle | undefined {
    return this.#handles.get(fh);
  }

  remove(fh: number): Handle | undefined {
    const handle = this.#handles.get(fh);
    this.#handles.delete(fh);
    return handle;
  }

  values(): Iterable<Handle> {
    return this.#handles.values();
  }
}
