/** Binding of C functions, by koffi: about 0.2 us a call. */
import koffi from 'koffi';

/** The process itself: node links the C library, whichever it is. */
const libc = koffi.load(null);

export type Native = (...args: unknown[]) => number;

/** C type of a NUL-terminated byte string, passed as a Buffer. */
export const PATH = 'const void *';
/** C type of memory that is read or written in place, passed as a Buffer, a typed array or null. */
export const BYTES = 'void *';

/**
 * Binds a C function that returns -1 and sets errno. What it gives back is kernel style: the result,
 * or the errno as a negative number.
 */
export function bind(name: string, args: readonly string[], result = 'int'): Native {
  const call: Native = libc.func(name, result, [...args]);
  return (...values) => {
    const value = call(...values);
    return value === -1 ? -koffi.errno() : value;
  };
}
