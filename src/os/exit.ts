/** The end of the process at once. node's own waits for its other threads, which may wait in the kernel for ever. */
import { bind } from './native.ts';

const exitGroup = bind('_exit', ['int'], 'void');

/** Ends all threads, as SIGKILL does: nothing is cleaned up. */
export function exitNow(status: number): void {
  exitGroup(status);
}
