/**
 * Which times of the schedule were served: by the wall clock, as timers stand still while a machine sleeps. It is known to
 * the next start as well, since a run that found all unchanged leaves nothing else behind.
 *
 *     <data.dir>/snapshot-run.json     {"servedUntil": "2026-11-24T03:00:00.100Z"}
 */
import fs from 'node:fs';
import { onDisk, replaceFile } from './archive.ts';
import { hasMissed } from './schedule.ts';

export interface ServedTimesOptions {
  readonly schedule: readonly string[];
  readonly timezone: string | undefined;
  /** Where it is kept. */
  readonly runFile: string;
}

/** Timers may be a little early. */
const EARLY_MS = 100;
/** What fires later than that was held up: its time is made up for as a missed one. */
const LATE_MS = 60_000;

export class ServedTimes {
  readonly #options: ServedTimesOptions;
  readonly #wallMs: () => number;
  /** ms since 1970; undefined before it is known. */
  #untilMs: number | undefined;

  constructor(options: ServedTimesOptions, wallMs: () => number) {
    this.#options = options;
    this.#wallMs = wallMs;
  }

  /** What an earlier start has served. At the very first one nothing that was due before is missed. Throws DISK. */
  load(): void {
    if (this.#untilMs !== undefined) return;
    this.#untilMs = readUntil(this.#options.runFile);
    if (this.#untilMs !== undefined) return;
    this.serve();
    this.remember();
  }

  /** Whether a timer that fires does so for a time that is now. */
  isNow(): boolean {
    return this.#isDue(this.#wallMs() - LATE_MS);
  }

  /** Whether a time has gone by. false before load(). */
  isMissed(): boolean {
    if (this.#untilMs === undefined) return false;
    if (this.#isDue(this.#untilMs)) return true;
    // Need not be searched again. When the clock was set back, it goes on from where it was.
    this.#untilMs = Math.max(this.#untilMs, this.#nowMs());
    return false;
  }

  /** All times until now are served, or left out. */
  serve(): void {
    this.#untilMs = this.#nowMs();
  }

  /** For the next start. Throws DISK. */
  remember(): void {
    if (this.#untilMs === undefined) return;
    const text = `${JSON.stringify({ servedUntil: new Date(this.#untilMs).toISOString() })}\n`;
    const { runFile } = this.#options;
    onDisk(runFile, () => replaceFile(runFile, text));
  }

  #isDue(sinceMs: number): boolean {
    const { schedule, timezone } = this.#options;
    return hasMissed(schedule, timezone, sinceMs, this.#nowMs());
  }

  #nowMs(): number {
    return this.#wallMs() + EARLY_MS;
  }
}

/** undefined when nothing is known, or the file makes no sense. Throws DISK. */
function readUntil(file: string): number | undefined {
  const text = onDisk(file, () => (fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '{}'));
  try {
    const ms = Date.parse((JSON.parse(text) as { servedUntil?: string } | null)?.servedUntil ?? '');
    return Number.isNaN(ms) ? undefined : ms;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
