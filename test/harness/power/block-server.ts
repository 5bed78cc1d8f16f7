/**
 * Disks that remember: a FUSE file system of a few image files that lie in memory. Loop devices over them are the disks of
 * test nodes, and each write and each flush of a block device comes here, in order, and goes into one log (block-log.ts).
 * A process of its own: `node block-server.ts <directory> <log> <image>...`, where the images are files that the disks
 * begin with. It prints "serving" once it does, and ends when it is unmounted.
 *
 * In the directory are `<n>.img` for each image and `notes`: what a process writes there in one write(2) is a note in
 * the log, between the writes before and after it. So a note that a commit has returned stands behind all that its fsync
 * made durable.
 *
 * fuse_attr_out, fuse_entry_out and the headers: see src/fuse/protocol.ts.
 */
import fs from 'node:fs';
import { FuseDevice } from '../../../src/fuse/device.ts';
import { agree, INIT_OUT, putInitOut } from '../../../src/fuse/init.ts';
import {
  ATTR_OUT,
  ENTRY_OUT,
  FOPEN_DIRECT_IO,
  FOPEN_KEEP_CACHE,
  MAX_TRANSFER,
  OPCODES,
  OPEN_OUT,
  ROOT_ID,
  S_IFDIR,
  S_IFREG,
} from '../../../src/fuse/protocol.ts';
import { Request } from '../../../src/fuse/request.ts';
import { errno } from '../../../src/os/libc.ts';
import { mountFuse } from '../../../src/os/mounts.ts';
import { encodeRecord, type RecordKind } from './block-log.ts';

/** Node ids: the root, the notes, then the images. */
const NOTES_ID = ROOT_ID + 1;
const FIRST_IMAGE_ID = NOTES_ID + 1;
const VALID_S = 3600;
/** Images are recorded in pieces of this size, and are a multiple of it. */
const CHUNK_BYTES = 64 << 10;
const FALLOC_FL_ZEROES = 0x02 | 0x10;

class BlockServer {
  readonly #images: Buffer[];
  readonly #log: number;
  readonly #device: FuseDevice;
  readonly #request = new Request();

  constructor(dir: string, log: string, images: readonly string[]) {
    this.#images = images.map((file) => fs.readFileSync(file));
    this.#log = fs.openSync(log, 'wx');
    for (const [disk, image] of this.#images.entries()) this.#recordImage(disk, image);
    const fd = fs.openSync('/dev/fuse', 'r+');
    mountFuse(dir, fd, { allowOther: false, fsName: 'litefs-lite-blocks' });
    this.#device = new FuseDevice(fd);
  }

  run(): void {
    const request = this.#request;
    while (this.#device.next(request)) {
      const outcome = this.#handle(request);
      if (outcome !== undefined) this.#device.reply(request.asker, outcome);
      if (request.opcode === OPCODES.INIT) fs.writeSync(1, 'serving\n');
    }
    fs.closeSync(this.#log);
  }

  #handle(request: Request): number | undefined {
    switch (request.opcode) {
      case OPCODES.INIT:
        return this.#init(request);
      case OPCODES.LOOKUP:
        return this.#lookUp(request);
      case OPCODES.FORGET:
      case OPCODES.BATCH_FORGET:
      case OPCODES.INTERRUPT:
        return undefined;
      case OPCODES.GETATTR:
      case OPCODES.SETATTR:
        return this.#attributes(request.nodeId);
      case OPCODES.OPEN:
        return this.#open(request.nodeId);
      case OPCODES.READ:
        return this.#read(request);
      case OPCODES.WRITE:
        return this.#write(request);
      case OPCODES.FSYNC:
        this.#record('flush', request.nodeId, 0);
        return 0;
      case OPCODES.FALLOCATE:
        return this.#zero(request);
      case OPCODES.RELEASE:
      case OPCODES.DESTROY:
        return 0;
      default:
        return -errno.ENOSYS;
    }
  }

  #init(request: Request): number {
    const offer = {
      major: request.u32(0),
      minor: request.u32(4),
      maxReadahead: request.u32(8),
      flags: request.u32(12),
      flags2: request.u32(16),
    };
    putInitOut(this.#device.bodyWords, agree(offer, false));
    return INIT_OUT;
  }

  #lookUp(request: Request): number {
    const name = request.string(0);
    const image = /^(\d+)\.img$/.exec(name);
    const id = name === 'notes' ? NOTES_ID : image ? FIRST_IMAGE_ID + Number(image[1]) : 0;
    if (id === 0 || id >= FIRST_IMAGE_ID + this.#images.length) return -errno.ENOENT;
    const words = this.#device.bodyWords;
    words.fill(0, 0, ENTRY_OUT / 4);
    words[0] = id;
    words[4] = VALID_S;
    words[6] = VALID_S;
    this.#putAttributes(id, 10);
    return ENTRY_OUT;
  }

  #attributes(id: number): number {
    const words = this.#device.bodyWords;
    words.fill(0, 0, ATTR_OUT / 4);
    words[0] = VALID_S;
    this.#putAttributes(id, 4);
    return ATTR_OUT;
  }

  #putAttributes(id: number, at: number): void {
    const words = this.#device.bodyWords;
    words[at] = id;
    words[at + 2] = this.#images[id - FIRST_IMAGE_ID]?.length ?? 0;
    words[at + 15] = id === ROOT_ID ? S_IFDIR | 0o700 : S_IFREG | 0o600;
    words[at + 16] = 1;
    words[at + 20] = 4096;
  }

  #open(id: number): number {
    const words = this.#device.bodyWords;
    words.fill(0, 0, OPEN_OUT / 4);
    // A note is one write, and none is kept back.
    words[2] = id === NOTES_ID ? FOPEN_DIRECT_IO : FOPEN_KEEP_CACHE;
    return OPEN_OUT;
  }

  #read(request: Request): number {
    const image = this.#images[request.nodeId - FIRST_IMAGE_ID];
    if (!image) return 0;
    const offset = request.u64(8);
    const size = Math.min(request.u32(16), MAX_TRANSFER);
    return image.copy(this.#device.body, 0, offset, Math.min(image.length, offset + size));
  }

  #write(request: Request): number {
    const id = request.nodeId;
    const data = request.writeData.subarray(0, request.u32(16));
    const offset = request.u64(8);
    if (id === NOTES_ID) {
      this.#record('note', FIRST_IMAGE_ID, 0, data);
    } else {
      const image = this.#images[id - FIRST_IMAGE_ID];
      if (offset + data.length > image.length) return -errno.ENOSPC;
      data.copy(image, offset);
      this.#record('write', id, offset, data);
    }
    this.#device.bodyWords[0] = data.length;
    this.#device.bodyWords[1] = 0;
    return 8;
  }

  /** Discards and requests to write zeroes; a disk may leave what was discarded as it was, ours makes it zero. */
  #zero(request: Request): number {
    const image = this.#images[request.nodeId - FIRST_IMAGE_ID];
    const offset = request.u64(8);
    const length = request.u64(16);
    if ((request.u32(24) & FALLOC_FL_ZEROES) === 0) return -errno.EOPNOTSUPP;
    if (!image || offset + length > image.length) return -errno.EINVAL;
    image.fill(0, offset, offset + length);
    this.#record('write', request.nodeId, offset, Buffer.alloc(length));
    return 0;
  }

  #record(kind: RecordKind, id: number, offset: number, data: Uint8Array = Buffer.alloc(0)): void {
    fs.writeSync(this.#log, encodeRecord(kind, id - FIRST_IMAGE_ID, offset, data));
  }

  /** What is on a disk before anything happens, but for zeroes. */
  #recordImage(disk: number, image: Buffer): void {
    const zeroes = Buffer.alloc(CHUNK_BYTES);
    for (let at = 0; at < image.length; at += CHUNK_BYTES) {
      const chunk = image.subarray(at, at + CHUNK_BYTES);
      if (zeroes.equals(chunk)) continue;
      this.#record('write', FIRST_IMAGE_ID + disk, at, chunk);
    }
    this.#record('flush', FIRST_IMAGE_ID + disk, 0);
  }
}

const [dir, log, ...images] = process.argv.slice(2);
new BlockServer(dir, log, images).run();
