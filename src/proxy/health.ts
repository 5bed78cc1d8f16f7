/** GET /litefs/health: answered by the proxy itself. */
import type http from 'node:http';
import type { ProxyNode } from './node.ts';

/** The answer. */
export interface ProxyHealth {
  readonly status: 'ok' | 'unhealthy';
  /** Why not, in plain words; empty when it is well. */
  readonly reasons: readonly string[];
  readonly role: 'primary' | 'replica';
  readonly node: string;
  /** null before the first sync. */
  readonly lagMs: number | null;
}

/** 200 or 503. `maxLagMs`: 0 for none. */
export function answerHealth(
  node: ProxyNode,
  maxLagMs: number,
  response: http.ServerResponse,
): void {
  const lagMs = node.lagMs();
  const isLate = lagMs !== undefined && maxLagMs > 0 && lagMs > maxLagMs;
  const reasons = [
    ...node.troubles(),
    ...(isLate ? [`${Math.round(lagMs)} ms behind the primary, more than proxy.max-lag`] : []),
  ];
  const isWell = reasons.length === 0;
  const { isPrimary, hostname } = node.facts();
  const report: ProxyHealth = {
    status: isWell ? 'ok' : 'unhealthy',
    reasons,
    role: isPrimary ? 'primary' : 'replica',
    node: hostname,
    lagMs: lagMs === undefined ? null : Math.round(lagMs),
  };
  response.writeHead(isWell ? 200 : 503, {
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'no-store',
  });
  response.end(`${JSON.stringify(report)}\n`);
}
