/** Files that change past the mount, as on a disk that fails. */
import fs from 'node:fs';

/** Turns one byte around. */
export function turnByte(file: string, at: number): void {
  const fd = fs.openSync(file, 'r+');
  try {
    const byte = Buffer.alloc(1);
    fs.readSync(fd, byte, 0, 1, at);
    byte[0] ^= 0xff;
    fs.writeSync(fd, byte, 0, 1, at);
  } finally {
    fs.closeSync(fd);
  }
}

/** The same, by another name of the file, in a folder that nobody watches: it makes no event. */
export function turnByteUnseen(file: string, at: number, unseen: string): void {
  fs.linkSync(file, unseen);
  try {
    turnByte(unseen, at);
  } finally {
    fs.rmSync(unseen);
  }
}
