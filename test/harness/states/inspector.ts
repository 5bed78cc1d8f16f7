/**
 * Looks at a bank on both nodes, when nobody writes: what a reader of the primary sees, what one of the replica sees, and
 * what the log holds must be the same, and every state of the log one that SQLite has published.
 */
import path from 'node:path';
import Sqlite from 'better-sqlite3';
import { type TestNode, until } from '../cluster.ts';
import { CHECK, HISTORY } from './bank.ts';
import type { Ledger } from './ledger.ts';
import { difference, imageOf, judgeLog, type View, wreckOf } from './verdict.ts';

const LOCK_MS_MAX = 10_000;
const FOLLOW_MS_MAX = 20_000;
const LOG_FAULTS_MAX = 5;

export interface Inspected {
  readonly primary: TestNode;
  readonly replica: TestNode;
  /** The database. */
  readonly name: string;
  readonly ledger: Ledger;
}

export class Inspector {
  /** What was found to be wrong. */
  readonly faults: string[] = [];
  /** States that were rebuilt from the log. */
  states = 0;
  readonly #of: Inspected;
  readonly #views: View[] = [];

  constructor(inspected: Inspected) {
    this.#of = inspected;
  }

  /** Holds the replica beside the primary. `when`: for what is said of a fault. */
  async compare(when: string): Promise<void> {
    const { primary, replica, name, ledger } = this.#of;
    const fault = (text: string) => this.faults.push(`${when}: ${text}`);
    try {
      const view = await this.#primaryView(fault);
      this.#views.push(view);
      await this.followed(view.position);
      if (!ledger.isWrecked) this.#judgeCommits(view.published, fault);
      const file = replica.file(name);
      const theirs = ledger.isWrecked ? wreckOf(file) : imageOf(file, { readonly: true });
      const differs = difference(view.image, theirs);
      if (differs !== undefined) fault(`${replica.name} is not ${primary.name}: ${differs}`);
    } catch (error) {
      fault((error as Error).message);
    }
  }

  /** Resolves when the replica is at that position; the primary's present one. */
  async followed(position?: string): Promise<void> {
    const { primary, replica, name } = this.#of;
    const wanted = position ?? (await primary.position(name));
    let theirs = '';
    await until(
      () => `${replica.name} is at ${wanted}; it is at ${theirs}`,
      async () => {
        theirs = await replica.position(name);
        return theirs === wanted;
      },
      FOLLOW_MS_MAX,
    );
  }

  /** Rebuilds all states of the log, which must pass what was seen. */
  judgeLog(): void {
    const dir = path.join(this.#of.primary.data, 'ltx', this.#of.name);
    const published = this.#views.at(-1)?.published ?? '';
    const { states, faults } = judgeLog(dir, this.#of.ledger, published, this.#views);
    this.states += states;
    this.faults.push(...faults.slice(0, LOG_FAULTS_MAX));
    if (faults.length > LOG_FAULTS_MAX) this.faults.push(`${faults.length} faults in the log`);
  }

  /** What a connection sees on the primary, and the position of that. */
  async #primaryView(fault: (text: string) => void): Promise<View> {
    const { primary, name, ledger } = this.#of;
    const file = primary.file(name);
    if (ledger.isWrecked) {
      const image = wreckOf(file);
      return { published: '', image, position: await primary.position(name) };
    }
    const db = new Sqlite(file, { timeout: LOCK_MS_MAX });
    try {
      const published = db.prepare(HISTORY).pluck().get() as string;
      const checked = db.prepare(CHECK).pluck().get() as string;
      if (!checked.startsWith('ok ')) fault(`the primary: ${checked}`);
      const image = db.serialize();
      return { published, image, position: await primary.position(name) };
    } finally {
      db.close();
    }
  }

  #judgeCommits(published: string, fault: (text: string) => void): void {
    const listed = new Set(published.split(',').map(Number));
    const { committed, lost, refused } = this.#of.ledger;
    const gone = [...committed].filter((token) => !listed.has(token) && !lost.has(token));
    if (gone.length > 0) fault(`the primary lacks ${gone.slice(0, 5)}, which was committed`);
    const back = [...refused].filter((token) => listed.has(token));
    if (back.length > 0) fault(`the primary has ${back.slice(0, 5)}, which was rolled back`);
  }
}
