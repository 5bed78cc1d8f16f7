/**
 * What comes from the node: /events read line by line, /info at most once a second, /history and /snapshots now and
 * then, with a token where the node wants one. What fails is tried again. A node that commits very often is not asked for each commit: /info has the sum.
 *
 * @typedef {import('../../info.ts').NodeReport} NodeReport
 * @typedef {import('../../history.ts').HistoryReport} HistoryReport
 * @typedef {import('../../snapshots.ts').SnapshotsReport} SnapshotsReport
 * @typedef {import('./access.js').Access} Access
 *
 * @typedef {object} Listener
 * @property {(info: NodeReport, nowMs: number) => void} info `nowMs`: the node's clock
 * @property {(history: HistoryReport) => void} history
 * @property {(snapshots: SnapshotsReport) => void} snapshots
 * @property {(isLive: boolean) => void} live whether events come
 * @property {() => void} failed the node did not answer
 * @property {() => void} refused it did, and wants a token
 * @property {() => void} confused it did, but not as this page expects
 */
import { Refused } from './access.js';

const INFO_MS_MIN = 1000;
const INFO_MS_MAX = 2000;
const HISTORY_MS = 2000;
const SNAPSHOTS_MS = 60_000;
const ANSWER_MS_MAX = 5000;
const RECONNECT_MS = 1000;
/** More lines than these in a second are too many to be read one by one. */
const LINES_MAX = 300;
const QUIET_MS = 10_000;
/** Clocks of two machines that differ by less are taken for one; the header has whole seconds. */
const CLOCK_MS = 2000;

export class Feed {
  /** @type {Listener} */
  #listener;
  /** @type {Access} */
  #access;
  /** @type {(() => void) | undefined} */
  #wake;
  /** Ends the stream of events that is read now. @type {AbortController | undefined} */
  #events;
  #changed = false;

  /**
   * @param {Listener} listener
   * @param {Access} access
   */
  constructor(listener, access) {
    this.#listener = listener;
    this.#access = access;
  }

  start() {
    void this.#followInfo();
    void this.#followEvents();
    void this.#repeat('/history', HISTORY_MS, (body) => this.#listener.history(body));
    void this.#repeat('/snapshots', SNAPSHOTS_MS, (body) => this.#listener.snapshots(body));
  }

  async #followInfo() {
    for (;;) {
      await this.#mayAsk();
      this.#changed = false;
      try {
        const { body, nowMs } = await getJson(this.#access, '/info');
        this.#tell(() => this.#listener.info(body, nowMs));
      } catch (error) {
        if (error instanceof Refused) this.#listener.refused();
        else {
          this.#listener.failed();
          // A connection that was cut in silence is still waited on.
          this.#events?.abort();
        }
      }
      await pause(INFO_MS_MIN);
      if (this.#changed) continue;
      const changed = new Promise((resolve) => {
        this.#wake = () => resolve(undefined);
      });
      await Promise.race([changed, pause(INFO_MS_MAX - INFO_MS_MIN)]);
    }
  }

  async #followEvents() {
    for (;;) {
      await this.#mayAsk();
      let waitMs = RECONNECT_MS;
      try {
        if ((await this.#readEvents()) === 'busy') waitMs = QUIET_MS;
      } catch (error) {
        // That the node does not answer, or wants a token, is told by /info.
        if (!(error instanceof Refused)) this.#listener.live(false);
      }
      this.#note();
      await pause(waitMs);
    }
  }

  /** Until the stream ends, or says too much. */
  async #readEvents() {
    const over = new AbortController();
    this.#events = over;
    // A browser has six connections to a node for all its tabs: those that nobody looks at must not hold them.
    const whenHidden = () => document.visibilityState === 'hidden' && over.abort();
    document.addEventListener('visibilitychange', whenHidden);
    try {
      const response = await this.#access.ask('/events', over.signal);
      if (!response.ok || !response.body) throw new Error(`/events: ${response.status}`);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      this.#listener.live(true);
      let [lines, sinceMs] = [0, performance.now()];
      for (;;) {
        const { done, value } = await reader.read();
        if (done) throw new Error('/events has ended');
        this.#note();
        const nowMs = performance.now();
        if (nowMs - sinceMs > 1000) [lines, sinceMs] = [0, nowMs];
        lines += value.split('\n').length - 1;
        if (lines > LINES_MAX) return 'busy';
      }
    } finally {
      document.removeEventListener('visibilitychange', whenHidden);
      over.abort();
    }
  }

  /**
   * What the page cannot show is not the same as no answer: the node may be of another version by now.
   *
   * @param {() => void} listener
   */
  #tell(listener) {
    try {
      listener();
    } catch (error) {
      console.error(error);
      this.#listener.confused();
    }
  }

  /** A page that nobody looks at asks for nothing, and so does one that has no token to show. */
  async #mayAsk() {
    await this.#access.open();
    await whenVisible();
  }

  /** Something has happened: /info has more now. */
  #note() {
    this.#changed = true;
    this.#wake?.();
  }

  /**
   * @param {string} path
   * @param {number} everyMs
   * @param {(body: any) => void} take
   */
  async #repeat(path, everyMs, take) {
    for (;;) {
      await this.#mayAsk();
      let waitMs = everyMs;
      try {
        const { body } = await getJson(this.#access, path);
        this.#tell(() => take(body));
      } catch {
        waitMs = Math.min(everyMs, INFO_MS_MAX);
      }
      await pause(waitMs);
    }
  }
}

/**
 * @param {Access} access
 * @param {string} path
 * @returns {Promise<{ body: any, nowMs: number }>}
 */
async function getJson(access, path) {
  const response = await access.ask(path, AbortSignal.timeout(ANSWER_MS_MAX));
  const body = await response.json();
  if (!response.ok) throw new Error(body.message ?? `${path}: ${response.status}`);
  const theirMs = Date.parse(response.headers.get('date') ?? '');
  const nowMs = Date.now();
  return { body, nowMs: Math.abs(theirMs - nowMs) > CLOCK_MS ? theirMs : nowMs };
}

/** @param {number} ms */
function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function whenVisible() {
  while (document.visibilityState === 'hidden') {
    await new Promise((resolve) => {
      document.addEventListener('visibilitychange', () => resolve(undefined), { once: true });
    });
  }
}
