/** Starting this very program once more, as a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { isSea } from 'node:sea';

/** The executable of the process that runs, also when a newer one has taken its name. */
const OWN_EXECUTABLE = '/proc/self/exe';

/** Runs one of our commands, with a channel for messages and our standard error. */
export function startSelf(args: readonly string[]): ChildProcess {
  const program = isSea() ? [] : [...process.execArgv, process.argv[1]];
  return spawn(OWN_EXECUTABLE, [...program, ...args], {
    argv0: process.argv0,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
}
