/** The end of sd_notify(3) that systemd has. */
import path from 'node:path';
import { checked, close, errno } from '../../src/os/libc.ts';
import { BYTES, bind } from '../../src/os/native.ts';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const MSG_DONTWAIT = 0x40;

const socket = bind('socket', ['int', 'int', 'int']);
const bindSocket = bind('bind', ['int', BYTES, 'uint32_t']);
const recv = bind('recv', ['int', BYTES, 'size_t', 'int'], 'int64_t');

export class NotifySocket {
  readonly path: string;
  /** All lines that have come. */
  readonly lines: string[] = [];
  readonly #fd: number;
  readonly #buffer = Buffer.alloc(4096);

  constructor(folder: string) {
    this.path = path.join(folder, 'notify');
    this.#fd = checked('socket', socket(AF_UNIX, SOCK_DGRAM, 0));
    const address = Buffer.from(`\x01\0${this.path}\0`);
    checked('bind', bindSocket(this.#fd, address, address.length));
  }

  /** Whether such a line has come by now. */
  has(line: string | RegExp): boolean {
    for (;;) {
      const length = recv(this.#fd, this.#buffer, this.#buffer.length, MSG_DONTWAIT);
      if (length === -errno.EAGAIN) break;
      this.lines.push(...this.#buffer.toString('utf8', 0, checked('recv', length)).split('\n'));
    }
    return this.lines.some((each) => (typeof line === 'string' ? each === line : line.test(each)));
  }

  close(): void {
    close(this.#fd);
  }
}
