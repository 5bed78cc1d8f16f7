/** An engine without threads and a mount: applications write to the backing tree itself. */
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { fromWire } from '../../src/engine/client.ts';
import type { Database, DatabaseStatus } from '../../src/engine/core/database.ts';
import { assertInvariants } from '../../src/engine/core/invariants.ts';
import { Engine, type Outside } from '../../src/engine/engine.ts';
import type {
  EngineCalls,
  EngineNews,
  EngineOptions,
  EngineRequest,
} from '../../src/engine/protocol.ts';
import type { DeferredOperation } from '../../src/fuse/policy.ts';
import { resumeName } from '../../src/mount/names.ts';
import { SharedState } from '../../src/mount/shared-state.ts';
import { checked, cString } from '../../src/os/libc.ts';
import { setxattr } from '../../src/os/xattr.ts';
import { createLayout, layoutOf } from '../../src/store/layout.ts';
import { runSql } from './sql.ts';

const WAIT_MS_MAX = 20_000;
const HOUR_MS = 3600_000;

export class EngineStand {
  readonly engine: Engine;
  /** What it has told main, oldest first. */
  readonly news: EngineNews[] = [];
  /** A test breaks it in the middle of a task, as a kill does: its invariants are not asked for any more. */
  isBroken = false;
  /** Told what step() says while an answer is waited for: whoever has the clock puts it forward. */
  onWait: (ms: number | undefined) => void = () => {};
  /** Told what it tells main. */
  onNews: (news: EngineNews) => void = () => {};
  readonly #tree: string;
  readonly #asked = new Map<number, (reply: Extract<EngineNews, { kind: 'reply' }>) => void>();
  #nextId = 1;

  /** Of the data directory `dir`, which is made when it is not there. */
  constructor(dir: string, options: Partial<EngineOptions> = {}, outside?: Outside) {
    const layout = layoutOf(dir);
    createLayout(layout);
    this.#tree = layout.tree;
    const { role = 'primary' } = options;
    const shared = new SharedState();
    shared.role = role;
    const all: EngineOptions = {
      dataDir: dir,
      mountDir: layout.tree,
      nodeId: '1',
      role,
      formerRole: role,
      compress: true,
      strictVerify: true,
      verifyPeriodMs: 0,
      retentionMs: HOUR_MS,
      retentionCheckMs: HOUR_MS,
      logBytesMax: 0,
      databases: undefined,
      ownershipOverride: {},
      eventFd: -1,
      shared: shared.buffer,
      ...options,
    };
    this.engine = new Engine(all, (news) => this.#told(news), outside);
  }

  /** Recovers all databases, and begins to capture. */
  async start(): Promise<void> {
    this.engine.recover();
    await this.call('attach', {});
  }

  /** A clean stop. */
  async stop(): Promise<void> {
    await this.call('detach', {});
    await this.call('stop', { isUnused: true });
  }

  /** Ends as kill -9 would: what is open goes, and nothing is written. */
  die(): void {
    for (const db of this.engine.registry) db.files.close();
  }

  file(name: string): string {
    return path.join(this.#tree, name);
  }

  database(name: string): Database {
    const db = this.engine.registry.get(name);
    if (!db) throw new Error(`there is no database ${name}`);
    return db;
  }

  /** Runs SQL on a database in an application that leaves the -wal as it is, and has it captured. */
  async commit(name: string, sql: string): Promise<void> {
    runSql(this.file(name), sql);
    await this.call('flush', {});
  }

  /** An operation that the mount holds back. The tree has its place: the sign to go on is an attribute that it has. */
  hold(operation: DeferredOperation): void {
    const sign = cString(resumeName(operation.token, 0));
    checked('setxattr', setxattr(cString(this.#tree), sign, Buffer.alloc(1), 0, 0));
    this.engine.mountMessage({ kind: 'deferred', operation });
  }

  /** Asks as main does, and works until the answer is there. */
  async call<K extends keyof EngineCalls>(
    call: K,
    args: EngineCalls[K]['args'],
  ): Promise<EngineCalls[K]['result']> {
    let isThere = false;
    const answer = this.answer(call, args).finally(() => {
      isThere = true;
    });
    answer.catch(() => {});
    await this.until(`an answer to ${call}`, () => isThere);
    return answer;
  }

  /** Asks as main does: whoever else has the engine work is told the answer. */
  answer<K extends keyof EngineCalls>(
    call: K,
    args: EngineCalls[K]['args'],
  ): Promise<EngineCalls[K]['result']> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#asked.set(id, ({ error, result }) => {
        if (error) reject(fromWire(error));
        else resolve(result as EngineCalls[K]['result']);
      });
      this.engine.request({ id, call, args } as EngineRequest);
    });
  }

  #told(news: EngineNews): void {
    this.news.push(news);
    this.onNews(news);
    if (news.kind !== 'reply') return;
    this.#asked.get(news.id)?.(news);
    this.#asked.delete(news.id);
  }

  /** Lets it work until the condition holds. */
  async until(what: string, condition: () => boolean): Promise<void> {
    // Not by the clock of the engine, which a test may put forward.
    const startedMs = Date.now();
    while (!condition()) {
      if (Date.now() - startedMs > WAIT_MS_MAX) throw new Error(`not there: ${what}`);
      this.onWait(this.step());
      await setImmediate();
    }
  }

  /** A step of the engine. Returns for how long it has nothing to do, in ms; undefined for until it is told something. */
  step(): number | undefined {
    const waitMs = this.engine.step();
    for (const db of this.engine.registry) {
      if (!this.isBroken && !this.engine.scheduler.isBusy(db.name)) assertInvariants(db);
    }
    return waitMs;
  }

  /** Lines of its log that match. */
  logged(pattern: RegExp): string[] {
    return this.news.flatMap((news) =>
      news.kind === 'log' && pattern.test(news.message) ? [news.message] : [],
    );
  }

  /** The states of a database that main was told of, oldest first. */
  statuses(name: string): DatabaseStatus[] {
    return this.news.flatMap((news) =>
      news.kind === 'status' && news.database === name ? [news.status] : [],
    );
  }
}
