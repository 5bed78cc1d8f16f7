/** What the node answers over HTTP: the table of routes. docs/http-api.md describes each. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { EventStreams, PrimaryData } from './events.ts';
import { HttpFault } from './fault.ts';
import type { HistoryReport } from './history.ts';
import type {
  HaltReport,
  HealthReport,
  ImportReport,
  NodeReport,
  RestoreReport,
  VerifyReport,
} from './info.ts';
import { databaseName, nameText } from './names.ts';
import { pageRoutes } from './page/page.ts';
import type { Route } from './router.ts';
import type { IncrementReport, SnapshotRunReport, SnapshotsReport } from './snapshots.ts';

/** What the routes need of the node; the daemon implements it. */
export interface NodeApi {
  info(): Promise<NodeReport>;
  history(): HistoryReport;
  /** Throws DATABASE_NOT_FOUND. */
  verify(database: string): Promise<VerifyReport>;
  /** Asks the threads of the node, and waits for them 5 s at most. */
  health(): Promise<HealthReport>;
  primary(): PrimaryData;
  /** Takes or keeps the halt lock. Throws WRONG_STATE, DATABASE_NOT_FOUND, DATABASE_BUSY. */
  halt(database: string, id: number): Promise<HaltReport>;
  /** Gives it back. Throws WRONG_STATE. */
  unhalt(database: string, id: number): Promise<HaltReport>;
  snapshots(): Promise<SnapshotsReport>;
  /** Cuts them now, of all databases when none is named. */
  snapshot(database: string | undefined): Promise<SnapshotRunReport>;
  /** Archives what is committed by now, up to the very last. Throws DATABASE_NOT_FOUND, DISK, WRONG_STATE. */
  increment(database: string): Promise<IncrementReport>;
  /** Sends one state of a database; `begin` is called with its size. Throws DATABASE_NOT_FOUND, DATABASE_BUSY, DISK. */
  export(
    database: string,
    begin: (bytes: number) => ServerResponse,
    signal: AbortSignal,
  ): Promise<void>;
  /** Takes a database in as one transaction. Throws WRONG_STATE on a replica, DATABASE_CORRUPT, DATABASE_BUSY, DISK. */
  import(database: string, source: IncomingMessage, signal: AbortSignal): Promise<ImportReport>;
  /**
   * Makes a database what is sent, as one transaction of the pages that differ, once the archive has what was committed.
   * Throws as import() does.
   */
  restore(database: string, source: IncomingMessage, signal: AbortSignal): Promise<RestoreReport>;
  readonly events: EventStreams;
  readonly metrics: { readonly contentType: string; text(): Promise<string> };
}

export function apiRoutes(node: NodeApi): Route[] {
  return [
    ...pageRoutes(),
    { method: 'GET', path: '/info', access: 'status', handle: () => node.info() },
    { method: 'GET', path: '/history', access: 'status', handle: () => node.history() },
    {
      method: 'GET',
      path: '/databases',
      access: 'status',
      handle: async () => (await node.info()).databases,
    },
    {
      method: 'GET',
      path: '/verify',
      access: 'guarded',
      handle: ({ query }) => node.verify(databaseName(query)),
    },
    { method: 'GET', path: '/snapshots', access: 'status', handle: () => node.snapshots() },
    {
      method: 'POST',
      path: '/snapshot',
      access: 'guarded',
      handle: ({ query }) => node.snapshot(query.has('name') ? databaseName(query) : undefined),
    },
    {
      method: 'POST',
      path: '/increment',
      access: 'guarded',
      handle: ({ query }) => node.increment(databaseName(query)),
    },
    {
      method: 'GET',
      path: '/export',
      access: 'guarded',
      handle({ query, response, signal }) {
        const name = databaseName(query);
        const begin = (bytes: number) =>
          response.writeHead(200, {
            'content-type': 'application/vnd.sqlite3',
            'content-length': bytes,
            'content-disposition': `attachment; filename*=UTF-8''${encodeURIComponent(fileNameOf(name))}`,
            'cache-control': 'no-store',
          });
        return node.export(name, begin, signal);
      },
    },
    {
      method: 'POST',
      path: '/import',
      access: 'guarded',
      takesBody: true,
      handle: ({ query, request, signal }) => node.import(databaseName(query), request, signal),
    },
    {
      method: 'POST',
      path: '/restore',
      access: 'guarded',
      takesBody: true,
      handle: ({ query, request, signal }) => node.restore(databaseName(query), request, signal),
    },
    {
      method: 'POST',
      path: '/halt',
      access: 'guarded',
      isRepeated: true,
      handle: ({ query }) => node.halt(databaseName(query), lockId(query)),
    },
    {
      method: 'DELETE',
      path: '/halt',
      access: 'guarded',
      isRepeated: true,
      handle: ({ query }) => node.unhalt(databaseName(query), lockId(query)),
    },
    {
      method: 'GET',
      path: '/metrics',
      access: 'status',
      async handle({ response }) {
        const text = await node.metrics.text();
        response.writeHead(200, { 'content-type': node.metrics.contentType });
        response.end(text);
      },
    },
    {
      method: 'GET',
      path: '/healthz',
      access: 'public',
      async handle({ response, maySeeStatus }) {
        const { status, reasons } = await node.health();
        // Load balancers need no reasons, which name databases.
        const health = { status, reasons: maySeeStatus ? reasons : [] };
        if (health.status === 'ok') return health;
        response.writeHead(503, { 'content-type': 'application/json; charset=utf-8' });
        response.end(`${JSON.stringify(health, null, 2)}\n`);
        return undefined;
      },
    },
    {
      method: 'GET',
      path: '/events',
      access: 'status',
      isStream: true,
      handle({ request, response }) {
        if (request.method === 'HEAD') response.end();
        else node.events.open(response, { type: 'init', data: node.primary() });
      },
    },
  ];
}

/** Throws HttpFault 400. */
function lockId(query: URLSearchParams): number {
  const text = query.get('id') ?? '';
  const id = Number(text);
  if (/^[1-9][0-9]{0,15}$/.test(text) && Number.isSafeInteger(id)) return id;
  throw new HttpFault(400, 'USAGE', 'say which lock: a number of your choice', {
    hint: 'Add &id= and a number from 1 to 9007199254740991, another one for each lock.',
  });
}

function fileNameOf(database: string): string {
  return nameText(database.slice(database.lastIndexOf('/') + 1));
}
