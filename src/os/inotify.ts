/**
 * inotify(7). A record read from the descriptor:
 *   0  i32 wd
 *   4  u32 mask
 *   8  u32 cookie
 *  12  u32 len     length of the name, with its NUL padding
 *  16  name
 */
import { checked, close, errno, read } from './libc.ts';
import { bind, PATH } from './native.ts';

export const IN_ACCESS = 0x1;
export const IN_MODIFY = 0x2;
export const IN_ATTRIB = 0x4;
export const IN_CLOSE_WRITE = 0x8;
export const IN_CLOSE_NOWRITE = 0x10;
export const IN_OPEN = 0x20;
export const IN_MOVED_FROM = 0x40;
export const IN_MOVED_TO = 0x80;
export const IN_CREATE = 0x100;
export const IN_DELETE = 0x200;
export const IN_DELETE_SELF = 0x400;
export const IN_MOVE_SELF = 0x800;
/** Events were lost; comes with wd -1. */
export const IN_Q_OVERFLOW = 0x4000;
/** The watch is gone. */
export const IN_IGNORED = 0x8000;
export const IN_ONLYDIR = 0x1000000;

const IN_NONBLOCK = 0o4000;
const IN_CLOEXEC = 0o2000000;
const HEADER = 16;

const init = bind('inotify_init1', ['int']);
const addWatch = bind('inotify_add_watch', ['int', PATH, 'uint32_t']);
const removeWatch = bind('inotify_rm_watch', ['int', 'int']);

export interface InotifyEvent {
  readonly wd: number;
  readonly mask: number;
  /** In a watched directory: the name, one char per byte; else ''. */
  readonly name: string;
}

/** One inotify instance. */
export class Inotify {
  /** Readable when events wait (see `pollIn`). */
  readonly fd: number;
  readonly #buffer = Buffer.alloc(65_536);

  /** @throws SystemError EMFILE when the user has too many instances */
  constructor() {
    this.fd = checked('inotify_init1', init(IN_NONBLOCK | IN_CLOEXEC));
  }

  /**
   * Watches a file or directory; again for the same one, changes its mask.
   * @param path bytes, without NUL
   * @returns the watch's descriptor
   * @throws SystemError ENOENT, ENOSPC when the user has too many watches
   */
  watch(path: Buffer, mask: number): number {
    const terminated = Buffer.concat([path, Buffer.alloc(1)]);
    return checked('inotify_add_watch', addWatch(this.fd, terminated, mask), path.toString());
  }

  /** Ends a watch; one that has ended by itself is no error. @throws SystemError */
  unwatch(wd: number): void {
    const result = removeWatch(this.fd, wd);
    if (result !== -errno.EINVAL) checked('inotify_rm_watch', result);
  }

  /** All events that wait, without waiting for any. @throws SystemError */
  read(): InotifyEvent[] {
    const events: InotifyEvent[] = [];
    for (;;) {
      const length = read(this.fd, this.#buffer, this.#buffer.length);
      if (length === -errno.EAGAIN || length === -errno.EINTR) return events;
      this.#parse(checked('read(inotify)', length), events);
    }
  }

  #parse(length: number, events: InotifyEvent[]): void {
    for (let at = 0; at < length; ) {
      const padded = this.#buffer.readUInt32LE(at + 12);
      const name = this.#buffer.toString('latin1', at + HEADER, at + HEADER + padded);
      const end = name.indexOf('\0');
      events.push({
        wd: this.#buffer.readInt32LE(at),
        mask: this.#buffer.readUInt32LE(at + 4),
        name: end < 0 ? name : name.slice(0, end),
      });
      at += HEADER + padded;
    }
  }

  close(): void {
    close(this.fd);
  }
}
