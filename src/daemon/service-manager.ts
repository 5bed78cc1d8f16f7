/**
 * What systemd is told: that the node is ready, what it waits for, that it is alive, that it stops (sd_notify(3)).
 * Without systemd all of it does nothing.
 */
import { errorText } from '../errors.ts';
import type { Logger } from '../log.ts';
import { sendDatagram } from '../os/unix-datagram.ts';

/** So often within the time that systemd waits. */
const PINGS = 4;

export class ServiceManager {
  readonly #socket: string | undefined;
  readonly #watchdogMs: number | undefined;
  readonly #log: Logger;
  #timer: NodeJS.Timeout | undefined;

  /**
   * Takes what is meant for us out of `environment`: an app that inherited it could speak in our name.
   * `pid`: this process's, as a watchdog may be meant for another.
   */
  constructor(environment: NodeJS.ProcessEnv, pid: number, log: Logger) {
    this.#log = log;
    this.#socket = environment.NOTIFY_SOCKET || undefined;
    const watchdogUs = Number(environment.WATCHDOG_USEC);
    const isOurs = [undefined, `${pid}`].includes(environment.WATCHDOG_PID);
    if (isOurs && watchdogUs > 0) this.#watchdogMs = watchdogUs / 1000;
    for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete environment[name];
  }

  /** A line for `systemctl status`. */
  status(text: string): void {
    this.#send(`STATUS=${text}`);
  }

  /** Start jobs that wait for this node go on. */
  ready(text: string): void {
    this.#send(`READY=1\nSTATUS=${text}`);
  }

  stopping(): void {
    clearInterval(this.#timer);
    this.#send('STOPPING=1\nSTATUS=stopping');
  }

  /**
   * From now on says "alive" whenever `isAlive` resolves. One that never does, or rejects, stays silent, and systemd
   * kills and restarts the node after its WatchdogSec.
   */
  watch(isAlive: () => Promise<unknown>): void {
    if (this.#watchdogMs === undefined || this.#socket === undefined) return;
    let isAsking = false;
    const ask = async () => {
      if (isAsking) return;
      isAsking = true;
      try {
        await isAlive();
        this.#send('WATCHDOG=1');
      } catch (error) {
        this.#log.error(`the watchdog is not told that all is well: ${errorText(error)}`);
      }
      isAsking = false;
    };
    this.#timer = setInterval(ask, this.#watchdogMs / PINGS).unref();
    void ask();
  }

  #send(text: string): void {
    if (this.#socket === undefined) return;
    try {
      sendDatagram(this.#socket, text);
    } catch (error) {
      this.#log.warn(`systemd cannot be told "${text}": ${errorText(error)}`);
    }
  }
}
