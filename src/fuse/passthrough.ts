/**
 * Passthrough (Linux 6.9): a backing file is registered with the connection, and opens that name it
 * are read, written and mapped by the kernel without us.
 *
 * FUSE_DEV_IOC_BACKING_OPEN takes { i32 fd, u32 flags, u64 padding } and returns an id;
 * FUSE_DEV_IOC_BACKING_CLOSE takes a pointer to that u32 id. Both need CAP_SYS_ADMIN.
 */
import { ioctl } from '../os/libc.ts';

const BACKING_OPEN = 0x4010e501;
const BACKING_CLOSE = 0x4004e502;

export class Passthrough {
  readonly #device: number;
  readonly #map = new Int32Array(4);
  readonly #id = new Int32Array(1);

  constructor(device: number) {
    this.#device = device;
  }

  /** @returns the id of the backing file (positive), or a negative errno */
  register(fd: number): number {
    this.#map[0] = fd;
    return ioctl(this.#device, BACKING_OPEN, new Uint8Array(this.#map.buffer));
  }

  /** Handles that were opened with it keep the backing file. */
  unregister(id: number): void {
    this.#id[0] = id;
    ioctl(this.#device, BACKING_CLOSE, new Uint8Array(this.#id.buffer));
  }
}
