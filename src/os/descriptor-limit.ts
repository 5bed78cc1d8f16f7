/** How many descriptors this process may have: RLIMIT_NOFILE. */
import fs from 'node:fs';

/** The soft limit; Infinity where there is none, or /proc does not tell. */
export function descriptorLimit(): number {
  try {
    return parseDescriptorLimit(fs.readFileSync('/proc/self/limits', 'utf8'));
  } catch {
    return Infinity;
  }
}

/** `Max open files  1024  524288  files`: the first number. */
export function parseDescriptorLimit(text: string): number {
  const soft = /^Max open files\s+(\d+)/m.exec(text)?.[1];
  return soft === undefined ? Infinity : Number(soft);
}
