/** One mount, served: a loop that reads a request, has it handled, and reads the next. */
import { LiteFsError } from '../errors.ts';
import { close, errno, open } from '../os/libc.ts';
import { allocate, readData, seek, syncFile, writeData } from './data.ts';
import type { Outcome } from './deferrals.ts';
import { FuseDevice } from './device.ts';
import {
  openDirectory,
  readDirectory,
  readDirectoryPlus,
  releaseDirectory,
  syncDirectory,
} from './directory.ts';
import { agree, INIT_OUT, putInitOut } from './init.ts';
import { getAttributes, readLink, setAttributes, statFileSystem } from './metadata.ts';
import {
  forget,
  forgetBatch,
  lookUp,
  makeDirectory,
  makeLink,
  makeNode,
  makeSymlink,
  removeDirectory,
  renameName,
  renameName2,
  unlinkName,
} from './names.ts';
import { createFile, openFile, releaseFile } from './opening.ts';
import { namedCounts, OPCODE_MAX, OPERATION_NAMES } from './operations.ts';
import type { TreePolicy } from './policy.ts';
import { OPCODES, type OpName } from './protocol.ts';
import { Request } from './request.ts';
import { Tree } from './tree.ts';
import { getAttribute, listAttributes, removeAttribute, setAttribute } from './xattrs.ts';

type Handler = (tree: Tree, request: Request) => Outcome;

/** What is not here is answered with ENOSYS, after which the kernel does it alone or does not ask. */
const HANDLERS: Partial<Record<OpName, Handler>> = {
  LOOKUP: lookUp,
  FORGET: forget,
  GETATTR: getAttributes,
  SETATTR: setAttributes,
  READLINK: readLink,
  SYMLINK: makeSymlink,
  MKNOD: makeNode,
  MKDIR: makeDirectory,
  UNLINK: unlinkName,
  RMDIR: removeDirectory,
  RENAME: renameName,
  LINK: makeLink,
  OPEN: openFile,
  READ: readData,
  WRITE: writeData,
  STATFS: statFileSystem,
  RELEASE: releaseFile,
  FSYNC: syncFile,
  SETXATTR: setAttribute,
  GETXATTR: getAttribute,
  LISTXATTR: listAttributes,
  REMOVEXATTR: removeAttribute,
  OPENDIR: openDirectory,
  READDIR: readDirectory,
  RELEASEDIR: releaseDirectory,
  FSYNCDIR: syncDirectory,
  CREATE: createFile,
  // What has been interrupted is finished all the same; there is no reply to this.
  INTERRUPT: () => undefined,
  DESTROY: () => 0,
  BATCH_FORGET: forgetBatch,
  FALLOCATE: allocate,
  READDIRPLUS: readDirectoryPlus,
  RENAME2: renameName2,
  LSEEK: seek,
};

const unknown: Handler = () => -errno.ENOSYS;

export interface FuseSessionOptions {
  /** /dev/fuse, open for reading and writing, and mounted (see `mountFuse`). */
  readonly device: number;
  /** Path of the directory that is mirrored, not reached through the mount. */
  readonly backingRoot: string;
  readonly policy: TreePolicy;
  /** 'auto': where kernel and permissions allow. */
  readonly passthrough: 'auto' | 'on' | 'off';
  /**
   * An event descriptor; once it is signalled, `run` returns as soon as there is a pause. Whoever then
   * closes the device ends the mount for all who still use it.
   */
  readonly stop?: number;
  /** Counts requests, by opcode; may be memory that other threads look at. */
  readonly counts?: Uint32Array;
  /** Is told of every request. */
  readonly debug?: (line: string) => void;
}

/** Serves one mount, on a thread of its own. */
export class FuseSession {
  readonly #options: FuseSessionOptions;
  readonly #tree: Tree;
  readonly #request = new Request();
  readonly #handlers: readonly (Handler | undefined)[];
  readonly #counts: Uint32Array;

  constructor(options: FuseSessionOptions) {
    this.#options = options;
    this.#counts = options.counts ?? new Uint32Array(OPCODE_MAX + 1);
    const root = Buffer.from(options.backingRoot).toString('latin1');
    this.#tree = new Tree(new FuseDevice(options.device, options.stop), options.policy, root);
    this.#handlers = OPERATION_NAMES.map((name) => name && HANDLERS[name]);
  }

  /** How many requests of each kind there have been. */
  get counters(): Record<string, number> {
    return namedCounts(this.#counts);
  }

  /**
   * Answers the kernel's greeting, which waits from the moment of mount(2).
   * @returns whether files will be handed over to the kernel
   * @throws LiteFsError FUSE_UNAVAILABLE
   */
  start(): { passthrough: boolean } {
    const { device } = this.#tree;
    const request = this.#request;
    if (!device.next(request)) {
      throw new LiteFsError('FUSE_UNAVAILABLE', 'The mount was gone before it was served');
    }
    const offer = {
      major: request.u32(0),
      minor: request.u32(4),
      maxReadahead: request.u32(8),
      flags: request.u32(12),
      // Older kernels send a shorter structure.
      flags2: request.length >= 40 + 20 ? request.u32(16) : 0,
    };
    if (request.opcode !== OPCODES.INIT || offer.major !== 7) {
      throw new LiteFsError('FUSE_UNAVAILABLE', `This kernel speaks FUSE ${offer.major}, not 7`);
    }
    const agreement = agree(offer, this.#options.passthrough !== 'off');
    putInitOut(device.bodyWords, agreement);
    device.reply(request.asker, INIT_OUT);
    this.#tree.killsPrivileges = agreement.killsPrivileges;
    this.#tree.passes = agreement.passthrough && this.#mayRegister();
    if (this.#options.passthrough === 'on' && !this.#tree.passes) {
      throw new LiteFsError('FUSE_UNAVAILABLE', 'Passthrough was asked for and is not to be had', {
        hint: 'It takes Linux 6.9 with CONFIG_FUSE_PASSTHROUGH, and CAP_SYS_ADMIN.',
      });
    }
    return { passthrough: this.#tree.passes };
  }

  /** Whether this process is allowed to register backing files, tried with a nameless one. */
  #mayRegister(): boolean {
    const O_TMPFILE_RDWR = process.arch === 'arm64' ? 0o20040002 : 0o20200002;
    const fd = open(this.#tree.backing(''), O_TMPFILE_RDWR, 0o600);
    // A file system without nameless files says nothing either way: each file will tell.
    if (fd < 0) return true;
    const id = this.#tree.passthrough.register(fd);
    if (id > 0) this.#tree.passthrough.unregister(id);
    close(fd);
    return id > 0;
  }

  /**
   * Serves until the mount is gone, or `stop` is signalled. Blocks its thread.
   * @throws whatever a bug or the policy throws, after the caller was answered with EIO
   */
  run(): void {
    const { device } = this.#tree;
    while (device.next(this.#request)) this.#serve();
    this.#closeAll();
  }

  #serve(): void {
    const request = this.#request;
    const { opcode } = request;
    if (opcode < this.#counts.length) this.#counts[opcode]++;
    this.#options.debug?.(`${OPERATION_NAMES[opcode] ?? opcode} node ${request.nodeId}`);
    try {
      const outcome = (this.#handlers[opcode] ?? unknown)(this.#tree, request);
      if (outcome !== undefined) this.#tree.device.reply(request.asker, outcome);
    } catch (error) {
      this.#tree.device.reply(request.asker, -errno.EIO);
      throw error;
    }
  }

  /** The kernel releases nothing when it is told to go at once. */
  #closeAll(): void {
    const fds = new Set<number>();
    for (const handle of this.#tree.handles.values()) {
      if (handle.kind === 'directory') fds.add(handle.fd);
      if (handle.kind === 'file' && handle.node.open) fds.add(handle.node.open.fd);
    }
    for (const fd of fds) close(fd);
  }
}
