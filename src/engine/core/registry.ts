/** All databases of the node by name, and which of them are replicated. */
import { LiteFsError } from '../../errors.ts';
import { nameFault } from '../../mount/names.ts';
import { nameMatcher } from '../../patterns.ts';
import type { Layout } from '../../store/layout.ts';
import { encodeName } from '../../store/layout.ts';
import type { Roots } from '../files/files.ts';
import { type Database, openDatabase } from './database.ts';

export class Registry {
  readonly #databases = new Map<string, Database>();
  readonly #layout: Layout;
  readonly #roots: Roots;
  readonly #wanted: (name: string) => boolean;
  readonly #warn: (message: string) => void;
  readonly #refused = new Set<string>();

  /** `patterns`: names to replicate, `*` for anything; undefined for all. `roots` may change while none is open. */
  constructor(
    layout: Layout,
    roots: Roots,
    patterns: readonly string[] | undefined,
    warn: (message: string) => void,
  ) {
    this.#layout = layout;
    this.#roots = roots;
    this.#wanted = nameMatcher(patterns);
    this.#warn = warn;
  }

  [Symbol.iterator](): Iterator<Database> {
    return this.#databases.values();
  }

  get size(): number {
    return this.#databases.size;
  }

  get(name: string): Database | undefined {
    return this.#databases.get(name);
  }

  /** The database of that name, made known when it is not; undefined when it is not to be replicated. */
  open(name: string): Database | undefined {
    const known = this.#databases.get(name);
    if (known) return known;
    if (!this.#wanted(name)) return undefined;
    const encoded = encodeName(name);
    const fault = nameFault(name);
    if (encoded === undefined || fault !== undefined) {
      if (!this.#refused.has(name)) {
        this.#warn(`${name}: it is not replicated, since its name ${fault}`);
      }
      this.#refused.add(name);
      return undefined;
    }
    const db = openDatabase(name, encoded, this.#layout, this.#roots, this.#warn);
    this.#databases.set(name, db);
    return db;
  }

  /** The same. Throws DATABASE_NOT_FOUND when it is not to be replicated, and what the disk says. */
  replicated(name: string): Database {
    const db = this.open(name);
    if (db) return db;
    throw new LiteFsError('DATABASE_NOT_FOUND', `${name} is not replicated here`);
  }

  /** Forgets a database that cannot be used. */
  forget(db: Database): void {
    db.files.close();
    db.log.close();
    this.#databases.delete(db.name);
  }
}
