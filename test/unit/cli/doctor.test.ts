/** What the doctor makes of the facts: each verdict, and that every trouble comes with something to do. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkArchives } from '../../../src/cli/doctor/archives.ts';
import { type Finding, formatFindings } from '../../../src/cli/doctor/finding.ts';
import {
  checkAllowOther,
  checkFuseDevice,
  checkKernel,
  checkPrivileges,
} from '../../../src/cli/doctor/machine.ts';
import { checkAbsentNode, checkForeignNode, checkNode } from '../../../src/cli/doctor/node.ts';
import { checkPort, checkSocket } from '../../../src/cli/doctor/ports.ts';
import {
  checkClock,
  checkPrimary,
  checkUpstream,
  checkVersion,
  clockAhead,
} from '../../../src/cli/doctor/primary.ts';
import {
  checkFileSystem,
  checkInotify,
  checkMountPoint,
  checkSpace,
} from '../../../src/cli/doctor/storage.ts';
import { LiteFsError } from '../../../src/errors.ts';
import type { NodeReport, UpstreamReport } from '../../../src/http/info.ts';
import type { Hello } from '../../../src/replication/messages.ts';

const MIB = 2 ** 20;

/** The verdict; a trouble without advice, or advice without trouble, is a mistake. */
function verdict(finding: Finding): string {
  assert.equal(finding.hint === undefined, finding.verdict === 'ok', finding.text);
  return finding.verdict;
}

describe('the machine', () => {
  it('has a kernel with passthrough, or is slower, or cannot do what the config wants', () => {
    for (const [release, setting, expected] of [
      ['6.18.44', 'auto', 'ok'],
      ['6.9.0-rc1', 'on', 'ok'],
      ['10.0', 'auto', 'ok'],
      ['6.8.12', 'auto', 'warn'],
      ['5.15.0-91-generic', 'auto', 'warn'],
      ['6.1.0', 'on', 'fail'],
      ['6.1.0', 'off', 'warn'],
      ['6.12', 'off', 'warn'],
    ] as const) {
      assert.equal(verdict(checkKernel(release, setting)), expected, `${release} ${setting}`);
    }
  });

  it('has /dev/fuse, and we may mount', () => {
    assert.equal(verdict(checkFuseDevice(undefined)), 'ok');
    assert.match(checkFuseDevice('ENOENT').hint ?? '', /modprobe fuse/);
    assert.match(checkFuseDevice('EACCES').hint ?? '', /root/);
    const status = (bits: string) => `Name:\tx\nCapPrm:\t0\nCapEff:\t${bits}\nCapBnd:\t0\n`;
    assert.equal(verdict(checkPrivileges(status('000001ffffffffff'), 0)), 'ok');
    assert.equal(verdict(checkPrivileges(status('00000000a80425fb'), 0)), 'fail');
    assert.match(checkPrivileges(status('0000000000000000'), 1000).hint ?? '', /root/);
    assert.match(checkPrivileges(status('00000000a80425fb'), 0).hint ?? '', /SYS_ADMIN/);
  });

  it('needs nothing in /etc/fuse.conf', () => {
    for (const conf of ['', '# user_allow_other\n', 'user_allow_other\n']) {
      const finding = checkAllowOther(true, conf);
      assert.equal(verdict(finding), 'ok');
      assert.match(finding.text, /not needed/);
    }
    assert.equal(verdict(checkAllowOther(false, '')), 'warn');
  });
});

describe('storage', () => {
  const volume = { freeBytes: 10_000 * MIB, bytes: 20_000 * MIB, type: 0xef53 };

  it('has space, or little, or none', () => {
    assert.equal(verdict(checkSpace('/d', volume)), 'ok');
    assert.equal(verdict(checkSpace('/d', { ...volume, freeBytes: 900 * MIB })), 'warn');
    assert.equal(
      verdict(checkSpace('/d', { ...volume, bytes: 800 * MIB, freeBytes: 400 * MIB })),
      'warn',
    );
    assert.equal(verdict(checkSpace('/d', { ...volume, freeBytes: 10 * MIB })), 'fail');
    assert.equal(verdict(checkSpace('/d', { freeBytes: 0, bytes: 0, type: 1 })), 'fail');
  });

  it('is local and lasting, or not', () => {
    for (const [type, expected, text] of [
      [0xef53, 'ok', /ext4/],
      [0x9123683e, 'ok', /btrfs/],
      [0x01021994, 'warn', /tmpfs.*after a restart/],
      [0x794c7630, 'warn', /overlay.*container/],
      [0x6969, 'fail', /nfs.*not local/],
      [0x4d44, 'fail', /vfat.*no owners/],
      [0x1234, 'warn', /0x1234/],
    ] as const) {
      const finding = checkFileSystem('/d', { ...volume, type });
      assert.equal(verdict(finding), expected, finding.text);
      assert.match(finding.text, text);
    }
  });

  it('has a place for snapshots, or none that can be written, or another than before', () => {
    const place = { exists: true, isLost: false, error: undefined };
    assert.equal(verdict(checkArchives('/nas', place)), 'ok');
    assert.equal(verdict(checkArchives('/nas', { ...place, exists: false })), 'ok');
    const refused = checkArchives('/nas', { ...place, error: 'EROFS' });
    assert.equal(verdict(refused), 'fail');
    assert.match(refused.text, /to \/nas: EROFS$/);
    assert.match(checkArchives('/nas', { ...place, isLost: true }).hint ?? '', /mounted/);
  });

  it('tells of commits by inotify', () => {
    const limits = { watches: 65_536, instances: 128, error: undefined };
    assert.equal(verdict(checkInotify(limits)), 'ok');
    assert.equal(verdict(checkInotify({ ...limits, watches: 100 })), 'warn');
    assert.equal(verdict(checkInotify({ ...limits, error: 'ENOSPC' })), 'fail');
  });

  it('has a place for the mount', () => {
    const point = { dead: false, mounted: undefined, names: undefined };
    for (const [facts, running, expected] of [
      [{}, false, 'ok'],
      [{ names: [] }, false, 'ok'],
      [{ names: ['old.db'] }, false, 'fail'],
      [{ mounted: 'litefs-lite' }, true, 'ok'],
      [{ mounted: 'litefs-lite' }, false, 'fail'],
      [{ mounted: 'sshfs' }, true, 'fail'],
      [{ names: [] }, true, 'fail'],
      [{ dead: true }, false, 'warn'],
    ] as const) {
      const finding = checkMountPoint('/m', { ...point, ...facts }, running);
      assert.equal(verdict(finding), expected, finding.text);
    }
  });
});

describe('ports', () => {
  const port = { field: 'http.addr', address: { host: undefined, port: 20202 }, holders: [] };
  const nginx = { pid: 7, command: 'nginx' };

  it('are free, or taken by our node, or by another', () => {
    assert.equal(verdict(checkPort({ ...port, error: undefined }, undefined)), 'ok');
    assert.equal(verdict(checkPort({ ...port, error: undefined }, 811)), 'warn');
    const taken = { ...port, error: 'EADDRINUSE' };
    assert.equal(verdict(checkPort(taken, 811)), 'ok');
    assert.equal(
      verdict(checkPort({ ...taken, holders: [{ pid: 811, command: 'x' }] }, 811)),
      'ok',
    );
    for (const pid of [undefined, 811]) {
      const finding = checkPort({ ...taken, holders: [nginx] }, pid);
      assert.equal(verdict(finding), 'fail');
      assert.match(finding.text, /taken by nginx \(7\)/);
    }
    assert.match(checkPort(taken, undefined).text, /another program/);
    assert.match(
      checkPort({ ...port, error: 'EADDRNOTAVAIL' }, undefined).text,
      /no address of this/,
    );
    assert.match(checkPort({ ...port, error: 'EACCES' }, undefined).hint ?? '', /above 1023/);
  });
});

describe('the socket of a node that runs', () => {
  const file = '/run/litefs-lite/20202.sock';
  const look = (error: string | undefined, hasGroup = true) =>
    checkSocket({ file, error, hasGroup });

  it('answers, or is for others, or does not answer', () => {
    assert.equal(verdict(look(undefined)), 'ok');
    assert.match(look(undefined).text, /root and the group litefs-lite/);
    assert.doesNotMatch(look(undefined, false).text, /group/);
    assert.equal(verdict(look('EACCES')), 'ok');
    for (const error of ['ENOENT', 'ECONNREFUSED']) {
      assert.equal(verdict(look(error)), 'warn');
      assert.match(look(error).text, new RegExp(`does not answer at .*: ${error}`));
    }
  });
});

describe('the node', () => {
  const report = {
    hostname: 'box1',
    role: 'primary',
    isPrimary: true,
    pid: 811,
    path: '/litefs',
    version: '1',
    databases: [{ name: 'app.db', state: 'ok' }],
    replicas: [{ hostname: 'box2', version: '1', address: '10.0.0.2:5', behindMs: 0 }],
    absent: [],
    upstream: null,
    warnings: [],
  } as unknown as NodeReport;
  const verdicts = (change: object) =>
    checkNode({ ...report, ...change } as NodeReport, '1').map((finding) => verdict(finding));

  it('is well with its databases and replicas', () => {
    assert.deepEqual(verdicts({}), ['ok', 'ok', 'ok']);
    assert.deepEqual(verdicts({ databases: [], replicas: [] }), ['ok', 'ok', 'ok']);
    assert.deepEqual(verdicts({ isPrimary: false, replicas: [] }), ['ok', 'ok']);
  });

  it('has a database in trouble, which is told once', () => {
    const databases = [{ name: 'app.db', state: 'degraded', reason: 'it is locked' }];
    assert.deepEqual(verdicts({ databases, warnings: ['app.db: it is locked'] }), [
      'ok',
      'fail',
      'ok',
    ]);
    const syncing = [{ name: 'app.db', state: 'syncing', reason: 'x' }];
    assert.deepEqual(verdicts({ databases: syncing }), ['ok', 'warn', 'ok']);
    assert.deepEqual(verdicts({ warnings: ['two primaries'] }), ['ok', 'ok', 'ok', 'fail']);
  });

  it('runs an earlier version, has a replica that does, or is far behind, does not run, or is another', () => {
    assert.equal(verdicts({ version: '0' })[0], 'warn');
    const replicas = [{ hostname: 'box2', version: '', address: 'x', behindMs: 60_000 }];
    assert.deepEqual(verdicts({ replicas }), ['ok', 'ok', 'warn']);
    const older = [{ hostname: 'box2', version: '0', address: 'x', behindMs: 0 }];
    assert.deepEqual(verdicts({ replicas: older }), ['ok', 'ok', 'warn']);
    const absent = [{ hostname: 'box3', address: 'x' }];
    assert.deepEqual(verdicts({ absent }), ['ok', 'ok', 'ok', 'warn']);
    assert.equal(verdict(checkAbsentNode('http://x', 'refused')), 'warn');
    assert.equal(verdict(checkForeignNode('http://x', '/other', report)), 'fail');
  });
});

describe('the primary', () => {
  const server: Hello = {
    nodeId: '1111111111111111',
    clusterId: 'aaaaaaaaaaaaaaaa',
    term: 1,
    role: 'primary',
    hostname: 'box1',
    features: 0,
    nonce: Buffer.alloc(32),
    primaryHostname: '',
    advertiseUrl: '',
    primaryProxy: '',
    release: '1',
  };
  const ours = {
    ...server,
    nodeId: '2222222222222222',
    role: 'replica',
    hostname: 'box2',
  } as const;
  const verdicts = (...args: Parameters<typeof checkPrimary>) => checkPrimary(...args).map(verdict);

  it('lets us in', () => {
    const welcome = { server, refusal: undefined };
    assert.deepEqual(verdicts('x:1', welcome, undefined), ['ok', 'ok']);
    assert.deepEqual(verdicts('x:1', welcome, ours), ['ok', 'ok']);
    const replica = { server: { ...server, role: 'replica' as const }, refusal: undefined };
    assert.deepEqual(verdicts('x:1', replica, ours), ['ok', 'ok', 'warn']);
  });

  it('would not let this node in, though it has the secret', () => {
    const welcome = { server, refusal: undefined };
    for (const change of [{ nodeId: server.nodeId }, { clusterId: 'b' }, { term: 2 }]) {
      assert.deepEqual(verdicts('x:1', welcome, { ...ours, ...change }), ['ok', 'ok', 'fail']);
    }
  });

  it('has another secret, is down, or is no node', () => {
    const refusal = { code: 'wrong-secret', text: 'no' };
    const [reached, secret] = checkPrimary('x:1', { server, refusal }, undefined);
    assert.deepEqual([verdict(reached), verdict(secret)], ['ok', 'fail']);
    assert.match(secret.hint ?? '', /litefs-lite token/);
    const version = { server: undefined, refusal: { code: 'version', text: 'no' } };
    assert.deepEqual(verdicts('x:1', version, undefined), ['ok', 'fail']);
    const waits = { server, refusal: { code: 'not-yet', text: 'no' } };
    assert.deepEqual(verdicts('x:1', waits, undefined), ['ok', 'warn']);
    for (const code of ['PEER_UNREACHABLE', 'PROTOCOL', 'PEER_REJECTED'] as const) {
      assert.deepEqual(verdicts('x:1', new LiteFsError(code, 'no'), undefined), ['fail']);
    }
  });

  it('lets in who has the secret, but not the node that runs with an older one', () => {
    const upstream = {
      connected: false,
      refused: true,
      address: 'box1:20204',
      error: 'the secret of box2 is not that of box1',
    } as UpstreamReport;
    assert.deepEqual(checkUpstream({ ...upstream, connected: true }), []);
    const [refused] = checkUpstream(upstream);
    assert.equal(verdict(refused), 'fail');
    assert.match(refused.text, /refused by box1:20204: the secret of box2/);
    assert.match(refused.hint ?? '', /older config or secret/);
    assert.deepEqual(checkUpstream({ ...upstream, refused: false }).map(verdict), ['warn']);
  });

  it('has the same clock and version, or not', () => {
    assert.equal(verdict(checkClock(undefined)), 'ok');
    assert.equal(verdict(checkClock(-900)), 'ok');
    assert.match(checkClock(61_000).text, /61 s ahead of this one/);
    assert.match(checkClock(-3_600_000).text, /3600 s behind this one/);
    assert.equal(verdict(checkClock(61_000)), 'warn');
    assert.equal(verdict(checkVersion('1', '1')), 'ok');
    assert.equal(verdict(checkVersion('1', undefined)), 'ok');
    assert.equal(verdict(checkVersion('1', '2')), 'warn');
  });

  it('tells its clock by a Date header, to a second', () => {
    const now = Date.parse('Tue, 24 Nov 2026 12:00:00 GMT');
    assert.equal(clockAhead('Tue, 24 Nov 2026 12:00:10 GMT', now + 400, now + 600), 10_000);
    assert.equal(clockAhead(null, now, now), undefined);
    assert.equal(clockAhead('soon', now, now), undefined);
  });
});

it('findings are lines of a table, with what to do below', () => {
  const text = formatFindings([
    { check: 'disk', verdict: 'ok', text: 'fine' },
    { check: 'clock', verdict: 'fail', text: 'one\ntwo', hint: 'do this' },
  ]);
  assert.equal(
    text,
    `ok    disk   fine
fail  clock  one
             two
             do this

1 failed, 0 to look at
`,
  );
  assert.match(formatFindings([{ check: 'a', verdict: 'ok', text: 'b' }]), /\nall is well\n$/);
});
