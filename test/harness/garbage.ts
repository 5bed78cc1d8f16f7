/** What is kept, and not what was merely not collected yet: also in a process that was started without --expose-gc. */
import v8 from 'node:v8';
import vm from 'node:vm';

v8.setFlagsFromString('--expose-gc');
const gc = vm.runInNewContext('gc') as () => void;

/** Memory of this process after a collection. */
export function memoryKept(): NodeJS.MemoryUsage {
  gc();
  return process.memoryUsage();
}
