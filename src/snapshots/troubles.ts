/** What is wrong with the archives now: told once in the log, and kept as a warning until it goes well again. */
import { errorText, isOutsideFault, type LiteFsError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { nameText } from '../store/layout.ts';

/** What was tried. Each has its own troubles: that old files can be removed does not mean that new ones can be written. */
export type Work = 'snapshots' | 'tidying snapshots';

interface Trouble {
  readonly work: Work;
  readonly database: string;
  readonly text: string;
}

export class Troubles {
  readonly #log: Logger;
  readonly #present = new Map<string, Trouble>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Runs a step that concerns a database ('' for all); false when the outside world kept it from going well. */
  async attempt(
    work: Work,
    database: string,
    step: () => Promise<void>,
    isClosed: () => boolean,
  ): Promise<boolean> {
    const key = keyOf(work, database);
    try {
      await step();
    } catch (error) {
      if (!isOutsideFault(error)) throw error;
      if (isClosed()) return false;
      const { code, hint } = error as LiteFsError;
      const text = hint ? `${errorText(error)}. ${hint}` : errorText(error);
      const trouble = { work, database, text };
      if (this.#present.get(key)?.text !== text) {
        this.#log.error({ code, database }, told(trouble));
      }
      this.#present.set(key, trouble);
      return false;
    }
    if (this.#present.delete(key)) {
      this.#log.info(
        { database },
        `${subject(work, database)} ${work === 'snapshots' ? 'go' : 'goes'} on`,
      );
    }
    return true;
  }

  /** undefined: all is well. */
  textOf(work: Work, database: string): string | undefined {
    return this.#present.get(keyOf(work, database))?.text;
  }

  /** All, as a person reads them. */
  warnings(): string[] {
    return [...this.#present.values()].map(told);
  }
}

function keyOf(work: Work, database: string): string {
  return `${work}\0${database}`;
}

function told(trouble: Trouble): string {
  return `${subject(trouble.work, trouble.database)}: ${trouble.text}`;
}

function subject(work: Work, database: string): string {
  return database === '' ? work : `${work} of ${nameText(database)}`;
}
