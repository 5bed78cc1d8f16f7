/** The dashboard and the alert rules ask only for what /metrics shows: no name and no label that is not there. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, describe, it } from 'node:test';
import { parse } from 'yaml';
import type { NodeReport } from '../../../src/http/info.ts';
import { NodeMetrics } from '../../../src/metrics/node-metrics.ts';

const FOLDER = path.resolve(import.meta.dirname, '../../../packaging/grafana');
/** What Prometheus adds to each series. */
const ADDED = ['job', 'instance'];
const FUNCTIONS = new Set(
  'sum count max min avg by on group_left rate increase time histogram_quantile and or unless'.split(
    ' ',
  ),
);

interface Query {
  readonly where: string;
  readonly expr: string;
  /** Labels that are shown with it. */
  readonly shown: readonly string[];
}

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { x: number; y: number; w: number; h: number };
  readonly targets?: readonly { expr: string; legendFormat: string; refId: string }[];
}

const dashboard = JSON.parse(fs.readFileSync(path.join(FOLDER, 'litefs-lite.json'), 'utf8')) as {
  panels: Panel[];
  templating: { list: { name: string; definition?: string }[] };
};
const { groups } = parse(fs.readFileSync(path.join(FOLDER, 'alerts.yml'), 'utf8')) as {
  groups: { rules: { alert: string; expr: string; annotations: Record<string, string> }[] }[];
};

const queries: Query[] = [
  ...dashboard.panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr, legendFormat }) => ({
      where: title,
      expr,
      shown: [...legendFormat.matchAll(/\{\{\s*(\w+)\s*\}\}/g)].map(([, label]) => label),
    })),
  ),
  ...dashboard.templating.list
    .filter(({ definition }) => definition)
    .map(({ name, definition }) => ({
      where: name,
      expr: /^label_values\((\w+), \w+\)$/.exec(definition ?? '')?.[1] ?? '',
      shown: [name],
    })),
  ...groups.flatMap(({ rules }) =>
    rules.map(({ alert, expr, annotations }) => ({
      where: alert,
      expr,
      shown: [
        ...Object.values(annotations)
          .join()
          .matchAll(/\$labels\.(\w+)/g),
      ].map(([, at]) => at),
    })),
  ),
];

describe('dashboard and alerts', () => {
  /** Labels by the names of the metrics. */
  let metrics: Map<string, Set<string>>;
  before(async () => {
    metrics = labelsIn(await everything().text());
    metrics.set('up', new Set());
  });

  it('ask for metrics that there are, by labels that they have', () => {
    assert(queries.length > 30);
    for (const { where, expr, shown } of queries) {
      const { names, labels } = partsOf(expr);
      assert(names.length > 0, where);
      const known = new Set(ADDED);
      for (const name of names) {
        const own = metrics.get(name);
        assert(own, `${where}: there is no ${name}`);
        for (const label of own) known.add(label);
      }
      for (const label of [...labels, ...shown]) {
        assert(known.has(label), `${where}: ${names.join()} has no label ${label}`);
      }
    }
  });

  it('leave out nothing that has been measured of databases and replicas', () => {
    const asked = new Set(queries.flatMap(({ expr }) => partsOf(expr).names));
    const unused = [...metrics.keys()].filter(
      (name) => /^litefs_lite_(database|replica)_/.test(name) && !asked.has(name),
    );
    assert.deepEqual(unused, [
      'litefs_lite_database_txid',
      'litefs_lite_database_log_files',
      'litefs_lite_database_pages_total',
    ]);
  });

  it('would be found wrong', () => {
    const { names, labels } = partsOf(
      'sum by (kind) (rate(litefs_lite_nope_total{host=~"$x"}[5m])) > 3',
    );
    assert.deepEqual([names, labels], [['litefs_lite_nope_total'], ['kind', 'host']]);
    const { names: two } = partsOf('time() - max(a_bucket * on (job) group_left (c) b_sum)');
    assert.deepEqual(two, ['a', 'b']);
  });

  it('have panels with numbers of their own that do not overlap, and alerts with names of their own', () => {
    const { panels } = dashboard;
    assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
    const cells = new Set<string>();
    for (const { title, gridPos } of panels) {
      const { x, y, w, h } = gridPos;
      assert(x + w <= 24, title);
      for (let i = 0; i < w * h; i++) {
        const cell = `${x + (i % w)} ${y + Math.floor(i / w)}`;
        assert(!cells.has(cell), `${title} lies on another panel`);
        cells.add(cell);
      }
    }
    const alerts = groups.flatMap(({ rules }) => rules.map(({ alert }) => alert));
    assert.equal(new Set(alerts).size, alerts.length);
  });
});

/** The metrics of an expression, without what a histogram adds to its name, and the labels that it speaks of. */
function partsOf(expr: string): { names: string[]; labels: string[] } {
  for (const [open, close] of ['()', '{}', '[]']) {
    assert.equal(expr.split(open).length, expr.split(close).length, expr);
  }
  const labels: string[] = [];
  const rest = expr
    .replace(/\b(?:by|on|group_left|without|ignoring)\s*\(([^)]*)\)/g, (_, list: string) => {
      labels.push(...list.split(',').map((label) => label.trim()));
      return ' ';
    })
    .replace(/\{([^}]*)\}/g, (_, matchers: string) => {
      labels.push(...[...matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(([, label]) => label));
      return ' ';
    })
    .replace(/\[[^\]]*\]/g, ' ');
  const words = rest.match(/[a-zA-Z_]\w*/g) ?? [];
  const names = words.filter((word) => !FUNCTIONS.has(word));
  const bare = names.map((name) => name.replace(/_(?:bucket|sum|count)$/, ''));
  return { names: [...new Set(bare)], labels: labels.filter((label) => label !== 'le') };
}

function labelsIn(text: string): Map<string, Set<string>> {
  const metrics = new Map<string, Set<string>>();
  const types = [...text.matchAll(/^# TYPE (\w+) \w+$/gm)].map(([, name]) => name);
  for (const name of types) metrics.set(name, new Set());
  for (const [, name, labels = ''] of text.matchAll(/^(\w+)(?:\{(.*)\})? \S+$/gm)) {
    const family = metrics.has(name) ? name : name.replace(/_(?:bucket|sum|count)$/, '');
    for (const [, label] of labels.matchAll(/(\w+)="/g)) metrics.get(family)?.add(label);
  }
  return metrics;
}

/** Metrics of a node that has all there can be. */
function everything(): NodeMetrics {
  const position = '0000000000000001/8000000000000000';
  const node = { nodeId: '2', hostname: 'box2', address: '', behindMs: 0, positions: {} };
  const info: NodeReport = {
    clusterID: 'c',
    isPrimary: false,
    candidate: false,
    path: '/litefs',
    primary: { hostname: 'box0' },
    version: '0',
    nodeID: '1',
    pid: 1,
    hostname: 'box1',
    role: 'replica',
    term: 1,
    passthrough: true,
    databases: [
      {
        name: 'a.db',
        position,
        pageSize: 4096,
        pages: 1,
        journalMode: 'wal',
        state: 'ok',
        haltHolder: null,
        walBytes: 0,
        log: { bytes: 1, files: 1, firstTxid: '0000000000000001' },
      },
    ],
    replicas: [{ ...node, version: '', connectedAt: '' }],
    absent: [{ ...node, nodeId: '3', goneAt: '' }],
    upstream: {
      address: '',
      hostname: 'box0',
      version: '',
      connected: true,
      since: '',
      refused: false,
      inSync: true,
      lagMs: 0,
      clockAheadMs: 0,
      error: null,
      positions: {},
      troubles: [],
    },
    warnings: [],
  };
  const latencies = { counts: [1], sumS: 1 };
  const counted = { commits: 1, pages: 1, checksumFailures: 0, faults: 0, resyncs: 0 };
  const metrics = new NodeMetrics(async () => ({
    info,
    healthy: true,
    databases: [{ name: 'a.db', ...counted, capture: latencies, apply: latencies }],
    fuseRequests: { OPEN: 1 },
    snapshots: { lastSuccessMs: 1, ok: true },
  }));
  metrics.httpAnswered('/info', 200);
  metrics.proxied({ kind: 'read', way: 'local', status: 200, ms: 1 });
  return metrics;
}
