/** What the node answers over HTTP: the table of routes. docs/http-api.md describes each. */
import type { EventStreams, PrimaryData } from './events.ts';
import type { HealthReport, NodeReport, VerifyReport } from './info.ts';
import { databaseName } from './names.ts';
import type { Route } from './router.ts';
import type { SnapshotRunReport, SnapshotsReport } from './snapshots.ts';

/** What the routes need of the node; the daemon implements it. */
export interface NodeApi {
  info(): Promise<NodeReport>;
  /** Throws DATABASE_NOT_FOUND. */
  verify(database: string): Promise<VerifyReport>;
  health(): HealthReport;
  primary(): PrimaryData;
  snapshots(): Promise<SnapshotsReport>;
  /** Cuts them now, of all databases when none is named. */
  snapshot(database: string | undefined): Promise<SnapshotRunReport>;
  readonly events: EventStreams;
}

export function apiRoutes(node: NodeApi): Route[] {
  return [
    { method: 'GET', path: '/info', handle: () => node.info() },
    {
      method: 'GET',
      path: '/databases',
      handle: async () => (await node.info()).databases,
    },
    {
      method: 'GET',
      path: '/verify',
      handle: ({ query }) => node.verify(databaseName(query)),
    },
    { method: 'GET', path: '/snapshots', handle: () => node.snapshots() },
    {
      method: 'POST',
      path: '/snapshot',
      changes: true,
      handle: ({ query }) => node.snapshot(query.has('name') ? databaseName(query) : undefined),
    },
    {
      method: 'GET',
      path: '/healthz',
      handle({ response }) {
        const health = node.health();
        if (health.status === 'ok') return health;
        response.writeHead(503, { 'content-type': 'application/json; charset=utf-8' });
        response.end(`${JSON.stringify(health, null, 2)}\n`);
      },
    },
    {
      method: 'GET',
      path: '/events',
      handle({ request, response }) {
        if (request.method === 'HEAD') response.end();
        else node.events.open(response, { type: 'init', data: node.primary() });
      },
    },
  ];
}
