/** Where LTX bytes come from and go to: memory or files. */
import fs from 'node:fs';

/** Bytes in sequence. */
export interface ByteSource {
  /** How many bytes have not been taken. */
  readonly remaining: number;
  /** The next `length` bytes (fewer at the end), valid until the next call. */
  take(length: number): Uint8Array;
}

export interface ByteSink {
  /** Takes over the content of `chunk`, which the caller reuses. */
  write(chunk: Uint8Array): void;
}

export function memorySource(bytes: Uint8Array): ByteSource {
  let at = 0;
  return {
    get remaining() {
      return bytes.length - at;
    },
    take(length) {
      const part = bytes.subarray(at, at + length);
      at += part.length;
      return part;
    },
  };
}

const READ_BYTES = 256 << 10;

/** A range of an open file. */
export function fileSource(
  fd: number,
  offset: number,
  length: number,
  onRead: (bytes: number) => void = () => {},
): ByteSource {
  let buffer = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, length));
  let begin = 0;
  let end = 0;
  let position = offset;
  const stop = offset + length;
  const fill = (wanted: number) => {
    if (wanted > buffer.length) {
      const grown = Buffer.allocUnsafeSlow(wanted);
      buffer.copy(grown, 0, begin, end);
      buffer = grown;
    } else {
      buffer.copyWithin(0, begin, end);
    }
    end -= begin;
    begin = 0;
    while (end < buffer.length && position < stop) {
      const most = Math.min(buffer.length - end, stop - position);
      const read = fs.readSync(fd, buffer, end, most, position);
      if (read === 0) break;
      onRead(read);
      end += read;
      position += read;
    }
  };
  return {
    get remaining() {
      return stop - position + (end - begin);
    },
    take(wanted) {
      const most = Math.min(wanted, stop - position + (end - begin));
      if (end - begin < most) fill(most);
      const part = buffer.subarray(begin, Math.min(begin + most, end));
      begin += part.length;
      return part;
    },
  };
}

export interface MemorySink extends ByteSink {
  bytes(): Buffer;
}

export function memorySink(): MemorySink {
  const chunks: Buffer[] = [];
  return {
    write(chunk) {
      chunks.push(Buffer.from(chunk));
    },
    bytes() {
      return Buffer.concat(chunks);
    },
  };
}

/** Appends to an open file, through a buffer: flush() before it is closed. */
export function fileSink(fd: number): ByteSink & { flush(): void } {
  const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  let length = 0;
  const writeOut = (bytes: Uint8Array) => {
    for (let at = 0; at < bytes.length; ) at += fs.writeSync(fd, bytes, at, bytes.length - at);
  };
  const flush = () => {
    writeOut(buffer.subarray(0, length));
    length = 0;
  };
  return {
    write(chunk) {
      if (length + chunk.length > buffer.length) flush();
      if (chunk.length > buffer.length) {
        writeOut(chunk);
        return;
      }
      buffer.set(chunk, length);
      length += chunk.length;
    },
    flush,
  };
}
