/**
 * The halt lock of a node. On the primary: who has it, be it a replica over its connection or a program here. On a
 * replica: programs here ask for it, and the primary is asked for them.
 */
import type { EngineClient } from '../engine/client.ts';
import { errorText, LiteFsError } from '../errors.ts';
import type { HaltReport } from '../http/info.ts';
import { nameText } from '../http/names.ts';
import { HaltTable } from '../lease/halt-table.ts';
import type { NodeIdentity } from '../lease/node-identity.ts';
import type { Logger } from '../log.ts';
import {
  formatChecksum,
  formatPosition,
  formatTxid,
  type Position,
  samePosition,
} from '../ltx/position.ts';
import type { ReplicationClient } from '../replication/client.ts';
import type { HaltHost } from '../replication/parts.ts';
import type { ReceivedEntry } from '../replication/store.ts';

export interface HaltsParts {
  readonly identity: NodeIdentity;
  readonly engine: EngineClient;
  readonly log: Logger;
  /** On a replica. */
  readonly client: () => ReplicationClient | undefined;
}

/** A lock that a program has asked for over HTTP ends when it is not asked for again within this time. */
export const HALT_TTL_MS = 10_000;
/** How long a writer on the primary is waited for. */
const WRITER_MS_MAX = 10_000;
/** Until a replica has what the primary has. */
const CATCH_UP_MS_MAX = 60_000;
const LOOK_MS = 500;

export class Halts implements HaltHost {
  readonly #parts: HaltsParts;
  readonly #table = new HaltTable();
  /** Locks that programs here have lost and not heard of: their id, and why. */
  readonly #lost = new Map<string, { id: number; reason: string }>();
  readonly #timer: NodeJS.Timeout;

  constructor(parts: HaltsParts) {
    this.#parts = parts;
    this.#timer = setInterval(() => this.#expire(), LOOK_MS);
    this.#timer.unref();
    parts.engine.committer = (entry) => this.#ask(entry);
  }

  /**
   * Takes the lock for a program on this node, or keeps one that it has. Throws WRONG_STATE, DATABASE_NOT_FOUND,
   * DATABASE_BUSY.
   */
  async take(database: string, id: number): Promise<HaltReport> {
    const { identity, engine } = this.#parts;
    const name = nameText(database);
    const lost = this.#lost.get(database);
    if (lost?.id === id) {
      throw new LiteFsError('WRONG_STATE', `the halt lock of ${name} was lost: ${lost.reason}`);
    }
    const held = this.#table.get(database);
    if (held?.id === id && held.expiresMs !== undefined) {
      held.expiresMs = performance.now() + HALT_TTL_MS;
      return this.#report(database, id);
    }
    if (!engine.positions().has(database)) {
      throw new LiteFsError('DATABASE_NOT_FOUND', `there is no database ${name}`);
    }
    const entry = { database, id, holder: identity.hostname, expiresMs: undefined };
    this.#table.claim(entry, name);
    this.#lost.delete(database);
    try {
      if (identity.role === 'primary') await engine.call('flush', { database });
      else await this.#borrow(database, id);
    } catch (error) {
      this.#table.release(database, id);
      throw error;
    }
    const claimed = this.#table.get(database);
    if (claimed?.id !== id) {
      throw new LiteFsError('WRONG_STATE', `the halt lock of ${name} was lost at once`);
    }
    claimed.expiresMs = performance.now() + HALT_TTL_MS;
    return this.#report(database, id);
  }

  /** The node that has the lock of a database, as far as this one knows: the primary does, a replica knows its own. */
  holder(database: string): string | undefined {
    return this.#table.get(database)?.holder;
  }

  /** Gives back what take() has given. Throws WRONG_STATE when it is not held, or was lost. */
  async give(database: string, id: number): Promise<HaltReport> {
    const name = nameText(database);
    const lost = this.#lost.get(database);
    if (lost?.id === id) {
      this.#lost.delete(database);
      throw new LiteFsError('WRONG_STATE', `the halt lock of ${name} was lost: ${lost.reason}`);
    }
    const held = this.#table.get(database);
    if (held?.id !== id || held.expiresMs === undefined) {
      const text = `the halt lock of ${name} is not held by number ${id}`;
      throw new LiteFsError('WRONG_STATE', text);
    }
    await this.#end(database, id, 'the halt lock was given back');
    return this.#report(database, id);
  }

  async lend(database: string, id: number, holder: string, waitMs: number): Promise<Position> {
    const { identity, engine, log } = this.#parts;
    const name = nameText(database);
    if (identity.role !== 'primary') {
      throw new LiteFsError('WRONG_STATE', `${identity.hostname} is a replica itself`);
    }
    this.#table.claim({ database, id, holder, expiresMs: undefined }, name);
    try {
      const wait = Math.min(waitMs, WRITER_MS_MAX);
      const position = await engine.call('haltLend', { database, waitMs: wait });
      log.info({ database: name, holder }, `${holder} has the halt lock of ${name}`);
      return position;
    } catch (error) {
      this.#table.release(database, id);
      throw error;
    }
  }

  async commit(id: number, { database, source }: ReceivedEntry): Promise<Position> {
    if (this.#table.get(database)?.id !== id) {
      throw new LiteFsError('WRONG_STATE', `the halt lock of ${nameText(database)} is not held`);
    }
    const own = 'bytes' in source ? { bytes: new Uint8Array(source.bytes) } : source;
    return this.#parts.engine.call('haltCommit', { database, source: own });
  }

  /** Resolves when another may have it. Never rejects. */
  async takeBack(database: string, id: number): Promise<void> {
    const { engine, log } = this.#parts;
    const held = this.#table.get(database);
    if (held?.id !== id) return;
    const name = nameText(database);
    // The engine does this after what it was asked to commit before.
    await engine
      .callIfAlive('haltReturn', { database })
      .catch((error) => log.error(`the write lock of ${name}: ${errorText(error)}`))
      .finally(() => {
        this.#table.release(database, id);
        log.info({ database: name }, `${held.holder} no longer has the halt lock of ${name}`);
      });
  }

  /** The connection to the primary is gone. */
  disconnected(): void {
    for (const { database, id } of [...this.#table]) {
      this.#lose(database, id, 'the connection to the primary was lost');
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** On a replica: the primary's lock, then all that the primary has, then the right to write. */
  async #borrow(database: string, id: number): Promise<void> {
    const { engine } = this.#parts;
    const client = this.#parts.client();
    if (!client) throw new LiteFsError('WRONG_STATE', 'this node follows nobody');
    const position = await client.halt(database, id, WRITER_MS_MAX);
    try {
      await this.#reached(database, position);
      this.#expectStill(database, id);
      await engine.call('haltBegin', { database, position });
      try {
        this.#expectStill(database, id);
      } catch (error) {
        // It was asked to end before it had begun, and would hold up what the primary sends for ever.
        await engine.call('haltEnd', { database, reason: errorText(error) });
        throw error;
      }
    } catch (error) {
      client.unhalt(database, id);
      throw error;
    }
  }

  /** Throws PEER_UNREACHABLE when the lock went with the connection meanwhile. */
  #expectStill(database: string, id: number): void {
    if (this.#table.get(database)?.id === id) return;
    throw new LiteFsError('PEER_UNREACHABLE', 'the connection to the primary was lost');
  }

  #reached(database: string, position: Position): Promise<void> {
    const { engine } = this.#parts;
    return new Promise((resolve, reject) => {
      const end = (error?: Error) => {
        clearTimeout(timer);
        undo();
        if (error) reject(error);
        else resolve();
      };
      const look = () => {
        const ours = engine.positions().get(database);
        if (ours && samePosition(ours, position)) end();
      };
      const undo = engine.onPosition(look);
      const timer = setTimeout(() => {
        const text = `${nameText(database)} has not come to ${formatPosition(position)} within a minute`;
        end(new LiteFsError('WRONG_STATE', text));
      }, CATCH_UP_MS_MAX);
      look();
    });
  }

  /** A transaction of an app here. */
  async #ask(entry: ReceivedEntry): Promise<void> {
    const client = this.#parts.client();
    if (!client || !this.#table.get(entry.database)) {
      throw new LiteFsError('WRONG_STATE', 'the halt lock is not held any more');
    }
    try {
      await client.commit(entry);
    } catch (error) {
      const held = this.#table.get(entry.database);
      if (held) this.#lose(entry.database, held.id, errorText(error));
      throw error;
    }
  }

  /** Ends a lock of this node. Resolves when nobody can be in a transaction, or soon. */
  async #end(database: string, id: number, reason: string): Promise<void> {
    const { identity, engine } = this.#parts;
    if (identity.role === 'replica') {
      await engine.call('haltEnd', { database, reason });
      this.#parts.client()?.unhalt(database, id);
    }
    this.#table.release(database, id);
  }

  #lose(database: string, id: number, reason: string): void {
    if (this.#lost.get(database)?.id === id) return;
    this.#lost.set(database, { id, reason });
    this.#end(database, id, reason).catch((error) => {
      this.#parts.log.warn(`the halt lock of ${nameText(database)}: ${errorText(error)}`);
    });
  }

  #expire(): void {
    for (const { database, id } of this.#table.expired(performance.now())) {
      const reason = `its holder has not been heard of for ${HALT_TTL_MS / 1000} s`;
      const name = nameText(database);
      this.#parts.log.warn({ database: name }, `the halt lock of ${name} ends: ${reason}`);
      this.#lose(database, id, reason);
    }
  }

  #report(database: string, id: number): HaltReport {
    const { txid, checksum } = this.#parts.engine.positions().get(database) ?? {
      txid: 0,
      checksum: 0n,
    };
    const expiresMs = this.#table.get(database)?.expiresMs;
    const leftMs = expiresMs === undefined ? 0 : expiresMs - performance.now();
    return {
      id,
      pos: { txid: formatTxid(txid), postApplyChecksum: formatChecksum(checksum) },
      expires: new Date(Date.now() + leftMs).toISOString(),
    };
  }
}
