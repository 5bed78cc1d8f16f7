/**
 * A bug in the main thread that nobody caught. The engine and the mount wait in the kernel, where node cannot end them: left
 * to itself, the process would stay, with a mount that works and nothing that replicates.
 */
import { errorText } from '../errors.ts';
import type { Logger } from '../log.ts';
import { exitNow } from '../os/exit.ts';

/** How long the node may take to stop then: longer than its steps take that wait for others. */
const STOP_MS_MAX = 60_000;

export const EXIT_SOFTWARE = 70;

/** What a node ends with that has crashed; it was told of already. */
export class Crash {}

export interface CrashWatch {
  /** Resolves when it happens: the node is to stop. The process ends a minute later whatever became of that. */
  readonly crashed: Promise<Crash>;
  readonly hasCrashed: boolean;
  dispose(): void;
}

/** Logs a bug, each line of its stack as one of the log: what a line tells ends with it (log.ts). */
export function tellBug(log: Logger, error: unknown): void {
  const text = error instanceof Error ? (error.stack ?? error.message) : errorText(error);
  const [what, ...frames] = text.split('\n');
  log.fatal({ err: error }, `internal error, please report it: ${what}`);
  for (const frame of frames) log.fatal(frame);
}

/** Logs what nobody catches from now on. */
export function watchForCrash(log: Logger): CrashWatch {
  const crashed = Promise.withResolvers<Crash>();
  let hasCrashed = false;
  const onUncaught = (error: unknown) => {
    tellBug(log, error);
    if (!hasCrashed) setTimeout(() => exitNow(EXIT_SOFTWARE), STOP_MS_MAX).unref();
    hasCrashed = true;
    crashed.resolve(new Crash());
  };
  process.on('uncaughtException', onUncaught);
  return {
    crashed: crashed.promise,
    get hasCrashed() {
      return hasCrashed;
    },
    dispose: () => process.off('uncaughtException', onUncaught),
  };
}
