/**
 * What systemd is told: that the node is ready, how it is, that it is alive, that it stops (sd_notify(3)). Without systemd
 * all of it does nothing.
 */
import { errorText } from '../errors.ts';
import type { Logger } from '../log.ts';
import { sendDatagram } from '../os/unix-datagram.ts';

/** So often within the time that systemd waits. */
const PINGS = 4;
/** How often the status is looked at. */
const STATUS_MS = 1000;
/** systemd takes up to 4096 bytes at once. */
const STATUS_CHARACTERS_MAX = 800;
/** How long a step of the start may take that says nothing meanwhile: as TimeoutStartSec in the unit. */
const STEP_MS_MAX = 120_000;

export class ServiceManager {
  readonly #socket: string | undefined;
  readonly #watchdogMs: number | undefined;
  readonly #log: Logger;
  readonly #timers: NodeJS.Timeout[] = [];
  #status = '';

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

  /**
   * The start gets on: it may take `waitMs` more, and the next step the time of a step. Nothing else bounds it, as a
   * large database is read for as long as that takes.
   */
  starting(text: string, waitMs = 0): void {
    const extendUs = (STEP_MS_MAX + waitMs) * 1000;
    this.#send(`EXTEND_TIMEOUT_USEC=${extendUs}\n${statusField(text)}`);
  }

  /** Start jobs that wait for this node go on. From now on `systemctl status` shows what `read` says. */
  ready(read: () => string): void {
    this.#status = statusField(read());
    this.#send(`READY=1\n${this.#status}`);
    if (this.#socket === undefined) return;
    const look = () => {
      const status = statusField(read());
      if (status !== this.#status) this.#send(status);
      this.#status = status;
    };
    this.#timers.push(setInterval(look, STATUS_MS).unref());
  }

  stopping(): void {
    for (const timer of this.#timers) clearInterval(timer);
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
    this.#timers.push(setInterval(ask, this.#watchdogMs / PINGS).unref());
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

/** One line: a part of it may be what a peer has said, and each line is a message of its own. */
function statusField(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is taken out.
  const line = text.replace(/[\0-\x1f\x7f]+/g, ' ');
  return `STATUS=${line.slice(0, STATUS_CHARACTERS_MAX)}`;
}
