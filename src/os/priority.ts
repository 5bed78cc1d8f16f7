/** The scheduling priority of a single thread, which Linux has and POSIX has not. */
import { checked } from './libc.ts';
import { bind } from './native.ts';

const PRIO_PROCESS = 0;
const THIS_THREAD = 0;

const setpriority = bind('setpriority', ['int', 'uint32_t', 'int']);

/** @param nice 0 … 19, the higher the more others come first @throws SystemError */
export function setThreadNice(nice: number): void {
  checked('setpriority', setpriority(PRIO_PROCESS, THIS_THREAD, nice));
}
