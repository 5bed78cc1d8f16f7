/** What `status` shows of states that a healthy pair of nodes never has. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatStatus } from '../../../src/cli/status.ts';
import { counted, formatBytes, formatTable } from '../../../src/cli/table.ts';
import type { DatabaseReport, NodeReport, UpstreamReport } from '../../../src/http/info.ts';
import { formatSecond } from '../../../src/snapshots/when.ts';

const at = (txid: number) => `${txid.toString(16).padStart(16, '0')}/8000000000000000`;

const DATABASE: DatabaseReport = {
  name: 'a.db',
  position: at(10),
  pageSize: 4096,
  pages: 300,
  journalMode: 'wal',
  state: 'ok',
  haltHolder: null,
  walBytes: 0,
  log: { bytes: 100, files: 1, firstTxid: '0000000000000001' },
};

const PRIMARY: NodeReport = {
  clusterID: 'c',
  isPrimary: true,
  candidate: true,
  path: '/mnt',
  primary: { hostname: 'box1' },
  version: '0',
  nodeID: '1',
  hostname: 'box1',
  pid: 1,
  role: 'primary',
  term: 1,
  passthrough: true,
  databases: [],
  replicas: [],
  absent: [],
  upstream: null,
  warnings: [],
};

const UPSTREAM: UpstreamReport = {
  address: 'box1:20204',
  hostname: 'box1',
  version: '0',
  connected: true,
  since: '2026-11-24T02:43:22.099Z',
  refused: false,
  inSync: true,
  lagMs: 3.4,
  clockAheadMs: 0,
  error: null,
  positions: { 'a.db': at(0x1f) },
  troubles: [],
};

const replica = (upstream: Partial<UpstreamReport>, database: Partial<DatabaseReport> = {}) =>
  formatStatus({
    ...PRIMARY,
    isPrimary: false,
    role: 'replica',
    hostname: 'box2',
    databases: [{ ...DATABASE, ...database }],
    upstream: { ...UPSTREAM, ...upstream },
  });

/** In the zone of whoever looks. */
const SINCE = formatSecond(Date.parse('2030-01-01T00:00:00.000Z')).replace('+', '\\+');

describe('status', () => {
  test('of a node without databases', () => {
    assert.equal(
      formatStatus(PRIMARY),
      'box1 is the primary\nmounted on /mnt, served by the kernel (passthrough)\n\nno databases yet\n',
    );
  });

  test('of a replica counts the transactions that each database is behind', () => {
    const text = replica({});
    assert.match(text, /^box2 is the replica of box1, 3 ms behind\n/);
    assert.match(text, /^a\.db +000000000000000a\/8\d+ +21 +1\.2 MiB +wal +100 B +ok$/m);
  });

  test('of a replica that never was in sync, or is not connected, says that', () => {
    assert.match(replica({ lagMs: null }), /^box2 is the replica of box1, not in sync yet\n/);
    const away = replica({ connected: false, error: 'connection refused' });
    assert.match(away, /^box2 is the replica, not connected to box1:20204: connection refused\n/);
  });

  test('shows the reason of a state that is not ok, and the warnings', () => {
    assert.match(replica({}, { state: 'degraded', reason: 'no room' }), / degraded: no room$/m);
    const since = '2030-01-01T00:00:00.000Z';
    const dated = replica({}, { state: 'degraded', reason: 'no room', since });
    assert.match(dated, new RegExp(` degraded since ${SINCE}: no room$`, 'm'));
    const text = formatStatus({ ...PRIMARY, warnings: ['anybody may connect'] });
    assert.ok(text.endsWith('\n\n! anybody may connect\n'), text);
  });

  test('of a replica names what the primary does not replicate', () => {
    const reason = 'a.db has a damaged header';
    const text = replica({ troubles: [{ name: 'a.db', hostname: 'box1', reason }] });
    assert.match(text, / not replicated by box1 at present$/m);
  });

  test('of a replica that is not connected does not know how far behind it is', () => {
    const text = replica({ connected: false, error: 'connection refused' });
    assert.match(text, /^a\.db +\S+ +\? /m);
  });

  test('says nothing twice', () => {
    const text = formatStatus({
      ...PRIMARY,
      isPrimary: false,
      databases: [{ ...DATABASE, state: 'degraded', reason: 'no room' }],
      upstream: { ...UPSTREAM, connected: false, error: 'connection refused' },
      warnings: ['not connected to box1:20204: connection refused', 'a.db: no room', 'one', 'one'],
    });
    assert.deepEqual(text.match(/^! .*$/gm), ['! one']);
    assert.equal(text.match(/connection refused/g)?.length, 1);
  });

  test('has databases by name, and no mode of one that has no pages', () => {
    const databases = [
      { ...DATABASE, name: 'b.db', pages: 0 },
      { ...DATABASE, name: 'a.db' },
    ];
    const text = formatStatus({ ...PRIMARY, databases });
    assert.match(text, /^a\.db .* wal .*\nb\.db +\S+ +- +0 B +- /m);
  });

  test('says who alone may write a database', () => {
    const text = replica({}, { haltHolder: 'box2' });
    assert.match(text, / ok, only box2 may write it \(halt lock\)$/m);
  });

  test('of a primary names those that are gone, with what they lack', () => {
    const about = { nodeId: '2', address: '10.0.0.2:5', goneAt: '2030-01-01T00:00:00.000Z' };
    const text = formatStatus({
      ...PRIMARY,
      databases: [DATABASE],
      absent: [
        { ...about, hostname: 'box2', behindMs: 0, positions: { 'a.db': at(10) } },
        { ...about, hostname: 'box3', behindMs: 9000, positions: { 'a.db': at(8) } },
      ],
    });
    const when = `is not connected since ${SINCE}`;
    assert.match(text, new RegExp(`^! box2 \\(10.0.0.2:5\\) ${when}: it has everything$`, 'm'));
    assert.match(
      text,
      new RegExp(`^! box3 \\(10.0.0.2:5\\) ${when}: it lacks 2 transactions$`, 'm'),
    );
  });

  test('of a primary counts what a replica lacks over all databases', () => {
    const text = formatStatus({
      ...PRIMARY,
      databases: [DATABASE, { ...DATABASE, name: 'b.db' }],
      replicas: [
        {
          nodeId: '2',
          hostname: 'box2',
          version: '0',
          address: '10.0.0.2:5',
          connectedAt: '2030-01-01T00:00:00.000Z',
          behindMs: 0,
          positions: { 'a.db': at(8) },
        },
      ],
    });
    assert.match(text, new RegExp(`^box2 +10\\.0\\.0\\.2:5 +${SINCE} +12 transactions$`, 'm'));
  });
});

test('tables are aligned, without blanks at the ends of lines', () => {
  assert.equal(formatTable(['A', 'LONG'], [['wide', 'x']]), 'A     LONG\nwide  x');
});

test('one thing is not many', () => {
  assert.deepEqual(
    [0, 1, 2].map((count) => counted(count, 'file')),
    ['0 files', '1 file', '2 files'],
  );
});

test('bytes as a person reads them', () => {
  const texts = [0, 1023, 1024, 1536, 2 ** 20, 5 * 2 ** 40, 2 ** 55].map(formatBytes);
  assert.deepEqual(texts, [
    '0 B',
    '1023 B',
    '1.0 KiB',
    '1.5 KiB',
    '1.0 MiB',
    '5.0 TiB',
    '32768.0 TiB',
  ]);
});
