/**
 * One datagram to a Unix socket, which node:dgram cannot send.
 *
 * struct sockaddr_un: 0 u16 sun_family AF_UNIX 1 (host order), 2 sun_path, at most 108 bytes. A path that begins with
 * NUL is a name in the abstract namespace, and ends with the address, not with a NUL.
 */
import { checked, close } from './libc.ts';
import { BYTES, bind } from './native.ts';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_NOSIGNAL = 0x4000;
const PATH_MAX = 108;

const socket = bind('socket', ['int', 'int', 'int']);
const sendto = bind('sendto', ['int', BYTES, 'size_t', 'int', BYTES, 'uint32_t'], 'int64_t');

/**
 * Sends `text` without waiting for a reader.
 * @param address a path, or `@name` in the abstract namespace; at most 107 bytes
 * @throws SystemError ENOENT or ECONNREFUSED when nobody listens there, RangeError for a longer address
 */
export function sendDatagram(address: string, text: string): void {
  const name = Buffer.from(address);
  if (name.length >= PATH_MAX)
    throw new RangeError(`longer than ${PATH_MAX - 1} bytes: ${address}`);
  const isAbstract = address.startsWith('@');
  if (isAbstract) name[0] = 0;
  const sockaddr = Buffer.alloc(2 + name.length + (isAbstract ? 0 : 1));
  sockaddr.writeUInt16LE(AF_UNIX, 0);
  name.copy(sockaddr, 2);
  const message = Buffer.from(text);
  const fd = checked('socket', socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  try {
    checked(
      'sendto',
      sendto(fd, message, message.length, MSG_NOSIGNAL, sockaddr, sockaddr.length),
      address,
    );
  } finally {
    close(fd);
  }
}
