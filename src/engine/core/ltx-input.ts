/** Opening an LTX file that is in memory or in a file, for decoding. */
import fs from 'node:fs';
import type { ByteSource } from '../../ltx/sources.ts';
import { fileSource, memorySource } from '../../ltx/sources.ts';

export type LtxInput = { readonly bytes: Uint8Array } | { readonly path: string };

/** Calls back with a source over the input; closes the file afterwards. */
export function* withLtxInput<T, Y>(
  input: LtxInput,
  use: (source: ByteSource) => Generator<Y, T, void>,
): Generator<Y, T, void> {
  if ('bytes' in input) return yield* use(memorySource(input.bytes));
  const fd = fs.openSync(input.path, 'r');
  try {
    return yield* use(fileSource(fd, 0, fs.fstatSync(fd).size));
  } finally {
    fs.closeSync(fd);
  }
}
