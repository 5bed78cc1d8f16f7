/**
 * `verify`: a primary reads all pages of its own; a replica has its primary do so, reads its own, and compares the two. Also
 * what the nodes that follow this one ask for; a replica hands that on to its own primary.
 */
import { setTimeout } from 'node:timers/promises';
import type { EngineClient } from '../engine/client.ts';
import { errorText, LiteFsError } from '../errors.ts';
import type { VerifyReport } from '../http/info.ts';
import { nameText } from '../http/names.ts';
import type { NodeIdentity } from '../lease/node-identity.ts';
import { formatChecksum, formatPosition } from '../ltx/position.ts';
import type { ReplicationClient } from '../replication/client.ts';
import type { OwnPages, VerifyHost } from '../replication/parts.ts';
import { type Comparison, compare, type There } from './comparison.ts';
import { SharedRuns } from './shared-runs.ts';

export interface VerificationParts {
  readonly identity: Pick<NodeIdentity, 'role'>;
  readonly engine: Pick<EngineClient, 'call' | 'positions' | 'onPosition'>;
  /** On a replica. */
  readonly client: () => Pick<ReplicationClient, 'verify'> | undefined;
  readonly log: { warn(fields: object, message: string): void };
}

/** How often the primary is asked when it has gone on too far to compare. */
const TRIES_MAX = 3;
/** Until this node has what the primary had when it had been read. */
const CATCH_UP_MS_MAX = 30_000;
const BAD_PAGES_MAX = 20;

export class Verification implements VerifyHost {
  readonly #parts: VerificationParts;
  readonly #own = new SharedRuns((database) => this.#readOwn(database));
  readonly #asked = new SharedRuns((database) => this.#ask(database));
  readonly #compared = new SharedRuns((database) => this.#compare(database));

  constructor(parts: VerificationParts) {
    this.#parts = parts;
  }

  primaryPages(database: string): Promise<OwnPages> {
    if (this.#parts.identity.role === 'replica') return this.#asked.ask(database);
    return this.#own.ask(database).catch((error) => {
      throw new LiteFsError('WRONG_STATE', `on the primary: ${errorText(error)}`);
    });
  }

  /** Throws DATABASE_NOT_FOUND, DATABASE_BUSY, WRONG_STATE, DISK: of what is here. What the primary cannot tell is in the report. */
  async report(database: string): Promise<VerifyReport> {
    if (this.#parts.identity.role === 'replica') return this.#compared.ask(database);
    const found = await this.#own.ask(database);
    const alone = { primary: null, sameAsPrimary: null, notCompared: null };
    return { name: nameText(database), ...pagesReport(found), ...alone };
  }

  async #compare(database: string): Promise<VerifyReport> {
    const { engine } = this.#parts;
    for (let tries = 1; ; tries++) {
      // Before the primary is made to read: it may not be here.
      if (!engine.positions().has(database)) {
        throw new LiteFsError(
          'DATABASE_NOT_FOUND',
          `there is no database ${nameText(database)} here`,
        );
      }
      const there: There = await this.primaryPages(database).catch((error) => this.#unknown(error));
      const txid = 'unknown' in there ? undefined : there.position.txid;
      if (txid !== undefined) await this.#reached(database, txid);
      const found = await engine.call('verify', { database, recall: txid });
      const { recalled, ok, position } = found;
      const { tryAgain, ...result } = compare({ ok, recalled, txid: position.txid }, there);
      if (tryAgain && tries < TRIES_MAX) continue;
      const { pagesChecked: pages, badPages, reason = '' } = found;
      return {
        name: nameText(database),
        ...pagesReport({ position, pages, badPages, reason }),
        primary:
          'unknown' in there
            ? null
            : {
                ...pagesReport(there),
                checksumHere: recalled === undefined ? null : formatChecksum(recalled),
              },
        ...(result satisfies Omit<Comparison, 'tryAgain'>),
      };
    }
  }

  /** What is no fault of the outside world is a bug, and is told of as one. */
  #unknown(error: unknown): There {
    const hint = error instanceof LiteFsError && error.hint ? `. ${error.hint}` : '';
    if (!(error instanceof LiteFsError)) this.#parts.log.warn({ err: error }, 'verify failed');
    return { unknown: `${errorText(error)}${hint}` };
  }

  async #ask(database: string): Promise<OwnPages> {
    const client = this.#parts.client();
    if (!client) throw new LiteFsError('WRONG_STATE', 'this node follows nobody');
    return client.verify(database);
  }

  /** In parts, with a rest as long as each took: at most half of the engine's time, whatever others ask for. */
  async #readOwn(database: string): Promise<OwnPages> {
    const badPages: number[] = [];
    let [pages, bad, from] = [0, 0, 1];
    let pageSize: number | undefined;
    for (;;) {
      const startedMs = performance.now();
      const part = await this.#parts.engine.call('verifyPart', { database, from });
      pageSize ??= part.pageSize;
      if (pageSize !== part.pageSize) {
        const text = `${nameText(database)} was replaced while it was read`;
        throw new LiteFsError('DATABASE_BUSY', text, { hint: 'Ask again.' });
      }
      pages += part.pagesChecked;
      bad += part.badCount;
      badPages.push(...part.badPages);
      const { position, next } = part;
      if (next === undefined) {
        const reason = bad > 0 ? `${bad} of ${pages} pages are not what their checksums say` : '';
        return { position, pages, badPages: badPages.slice(0, BAD_PAGES_MAX), reason };
      }
      from = next;
      await setTimeout(performance.now() - startedMs, undefined, { ref: false });
    }
  }

  /** Resolves when the replica is there, or is not within the time. */
  #reached(database: string, txid: number): Promise<void> {
    const { engine } = this.#parts;
    return new Promise((resolve) => {
      const look = () => {
        if ((engine.positions().get(database)?.txid ?? 0) < txid) return;
        clearTimeout(timer);
        undo();
        resolve();
      };
      const undo = engine.onPosition(look);
      const timer = globalThis.setTimeout(() => {
        undo();
        resolve();
      }, CATCH_UP_MS_MAX);
      look();
    });
  }
}

function pagesReport({ position, pages, badPages, reason }: OwnPages) {
  const ok = reason === '';
  return {
    position: formatPosition(position),
    pages,
    ok,
    badPages,
    ...(!ok && { reason }),
  };
}
