/** Whose socket it is that a connection on this machine comes from. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { describe, it } from 'node:test';
import { listenersAt } from '../../../src/os/listeners.ts';
import {
  type Ends,
  endsOf,
  ownerOfPeer,
  parseTcpTable,
  tcpSockets,
} from '../../../src/os/tcp-table.ts';

const NOBODY = 65534;
const OWN = process.getuid?.();

function ends(socket: net.Socket): Ends {
  const found = endsOf(socket);
  assert(found);
  return found;
}

/** A connection to a server that listens at `host`; both ends of it. */
async function connected(
  host: string,
  to: string,
  work: (ours: net.Socket, theirs: net.Socket) => Promise<void> | void,
): Promise<void> {
  const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true });
  let ours: net.Socket | undefined;
  let theirs: net.Socket | undefined;
  try {
    server.listen(0, host);
    await once(server, 'listening');
    const accepted = once(server, 'connection');
    ours = net.connect((server.address() as net.AddressInfo).port, to);
    [[theirs]] = await Promise.all([accepted, once(ours, 'connect')]);
    await work(ours, theirs as net.Socket);
  } finally {
    ours?.destroy();
    theirs?.destroy();
    server.close();
  }
}

describe('the sockets of TCP', () => {
  it('are read from the tables of the kernel', () => {
    const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:4EEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:4EEA 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0 100 0 0 10 0
   2: 0100007F:9999 0100007F:4EEA 04 00000000:00000000 00:00000000 00000000     0        0 0 1 0 100 0 0 10 0
   3: 0100007F:9998 0100007F:4EEA 01 00000000:00000000 00:00000000 00000000     0        0 0 1 0 100 0 0 10 0
   4: 0000000000000000FFFF00000100007F:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 7 0 4713
   5: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 8 0 4714
`;
    const sockets = parseTcpTable(table).map(({ local, state, uid, inode }) => [
      `${local.address} ${local.port}`,
      state,
      uid,
      inode,
    ]);
    assert.deepEqual(sockets, [
      ['127.0.0.1 20202', 'listening', 0, '4711'],
      ['127.0.0.1 20202', 'connected', 1000, '4712'],
      // An older kernel says root of what no process has any more, or yet.
      ['127.0.0.1 39321', 'other', 0, '0'],
      ['127.0.0.1 39320', 'other', 0, '0'],
      ['127.0.0.1 22', 'listening', 7, '4713'],
      ['::1 22', 'listening', 8, '4714'],
    ]);
  });

  for (const [host, to] of [
    ['127.0.0.1', '127.0.0.1'],
    ['0.0.0.0', '127.0.0.1'],
    ['::', '127.0.0.1'],
    ['::', '::1'],
    ['127.0.0.3', '127.0.0.3'],
  ]) {
    it(`have an owner (${host}, asked at ${to})`, () =>
      connected(host, to, (ours, theirs) => {
        assert.equal(ownerOfPeer(ends(theirs)), OWN);
        assert.deepEqual(
          listenersAt(ends(ours).remote.port).map(({ pid }) => pid),
          [process.pid],
        );
      }));
  }

  it('have none where it is not known: it is another machine', () =>
    connected('127.0.0.1', '127.0.0.1', async (ours) => {
      const { local, remote } = ends(ours);
      assert.equal(ownerOfPeer({ local, remote: { ...remote, address: '10.9.8.7' } }), undefined);
    }));

  it('of another user are told from ours', () =>
    asNobody(() =>
      connected('127.0.0.1', '127.0.0.1', (_, theirs) => {
        assert.equal(ownerOfPeer(ends(theirs)), NOBODY);
      }),
    ));

  it('that were closed have no owner, which an older kernel says is root', () =>
    asNobody(() =>
      connected('127.0.0.1', '127.0.0.1', async (ours, theirs) => {
        const closing = ends(theirs);
        ours.destroy();
        theirs.resume();
        await once(theirs, 'end');
        const closed = tcpSockets().find(
          ({ local }) => local.port === closing.remote.port && local.address === '127.0.0.1',
        );
        assert.equal(closed?.state, 'other');
        assert.equal(ownerOfPeer(closing), undefined);
      }),
    ));
});

async function asNobody(work: () => Promise<void>): Promise<void> {
  process.seteuid?.(NOBODY);
  try {
    await work();
  } finally {
    process.seteuid?.(OWN as number);
  }
}
