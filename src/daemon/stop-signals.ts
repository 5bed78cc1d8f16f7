/** The signals that stop a node: the first one asks it to, the second one lets it wait for nothing more. */
import type { Logger } from '../log.ts';

export class Signal {
  readonly name: NodeJS.Signals;

  constructor(name: NodeJS.Signals) {
    this.name = name;
  }
}

export interface StopSignals {
  /** Resolves at the first signal. */
  readonly requested: Promise<Signal>;
  /** Resolves at the second: no more waiting. */
  readonly forced: Promise<void>;
  readonly force: AbortSignal;
  dispose(): void;
}

const STOP_SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

/** Listens until dispose(). `stop`: its abort does what SIGTERM does. */
export function stopSignals(stop: AbortSignal | undefined, log: Logger): StopSignals {
  const requested = Promise.withResolvers<Signal>();
  const forced = Promise.withResolvers<void>();
  const force = new AbortController();
  let count = 0;
  const onSignal = (name: NodeJS.Signals) => {
    if (count++ === 0) {
      log.info(`stopping: ${name}`);
      // A terminal that has gone is a reason to stop, as others; to applications SIGHUP often means something else.
      requested.resolve(new Signal(name === 'SIGHUP' ? 'SIGTERM' : name));
    } else {
      force.abort();
      forced.resolve();
    }
  };
  const onAbort = () => onSignal('SIGTERM');
  for (const name of STOP_SIGNALS) process.on(name, onSignal);
  stop?.addEventListener('abort', onAbort);
  return {
    requested: requested.promise,
    forced: forced.promise,
    force: force.signal,
    dispose() {
      for (const name of STOP_SIGNALS) process.off(name, onSignal);
      stop?.removeEventListener('abort', onAbort);
    },
  };
}
