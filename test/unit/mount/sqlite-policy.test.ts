/** What the mounted tree lets through, holds back and refuses, on a primary and on a replica. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import type { Caller, DeferredOperation, TreeEvent, Verdict } from '../../../src/fuse/policy.ts';
import { resumeName } from '../../../src/mount/names.ts';
import { SharedState } from '../../../src/mount/shared-state.ts';
import { SqlitePolicy } from '../../../src/mount/sqlite-policy.ts';
import { withFolder } from '../os/folder.ts';

const EPERM = 1;
const EROFS = 30;
const EACCES = 13;
const { O_RDONLY, O_WRONLY, O_RDWR, O_TRUNC } = fs.constants;

const ENGINE: Caller = { pid: 77, uid: 0, gid: 0 };
const APP: Caller = { pid: 1234, uid: 1000, gid: 1000 };

interface Stand {
  readonly policy: SqlitePolicy;
  readonly shared: SharedState;
  readonly tree: string;
  readonly cuts: string;
  readonly sent: unknown[];
}

/** A policy on a tree with a database, `app.db`, one that is not replicated, `other.db`, and a file, `notes.txt`. */
function withPolicy(role: 'primary' | 'replica', body: (stand: Stand) => void): Promise<void> {
  return withFolder((folder) => {
    const [tree, cuts] = ['tree', 'cuts'].map((name) => path.join(folder, name));
    for (const dir of [tree, cuts]) fs.mkdirSync(dir);
    for (const name of ['app.db', 'other.db']) {
      fs.writeFileSync(path.join(tree, name), `SQLite format 3\0${'x'.repeat(84)}`);
    }
    fs.writeFileSync(path.join(tree, 'notes.txt'), 'not a database, SQLite format 3');
    const shared = new SharedState();
    shared.role = role;
    shared.engineThread = ENGINE.pid;
    const sent: unknown[] = [];
    const policy = new SqlitePolicy({
      treeRoot: tree,
      cutsDir: cuts,
      shared,
      replicates: (name) => name !== 'other.db',
      send: (message) => sent.push(message),
    });
    body({ policy, shared, tree, cuts, sent });
  });
}

type Operation = (policy: SqlitePolicy, caller: Caller) => Verdict | 'keep';
const zeroedHeader = Buffer.alloc(28);

/** Each operation, and what comes of it on a primary and on a replica when an app asks. */
const TABLE: [string, Operation, primary: Verdict, replica: Verdict | 'keep'][] = [
  ['open app.db to read', (p, c) => p.open('app.db', O_RDONLY, c), 0, 0],
  ['open app.db to write', (p, c) => p.open('app.db', O_RDWR, c), 0, EROFS],
  ['open app.db to cut it', (p, c) => p.open('app.db', O_RDONLY | O_TRUNC, c), 0, EROFS],
  ['open app.db-wal to write', (p, c) => p.open('app.db-wal', O_WRONLY, c), 0, EROFS],
  ['open app.db-shm to write', (p, c) => p.open('app.db-shm', O_RDWR, c), 0, 0],
  ['open notes.txt to write', (p, c) => p.open('notes.txt', O_RDWR, c), 0, 0],
  ['create new.db', (p, c) => p.create('new.db', c), 0, 0],
  ['create new.db-journal', (p, c) => p.create('new.db-journal', c), 0, EROFS],
  ['create new.db-wal', (p, c) => p.create('new.db-wal', c), 0, EROFS],
  ['create app.db-shm', (p, c) => p.create('app.db-shm', c), 0, 0],
  ['create .primary', (p, c) => p.create('.primary', c), EACCES, EACCES],
  ['create .lag', (p, c) => p.create('.lag', c), EACCES, EACCES],
  ['link app.db', (p, c) => p.link('app.db', 'b.db', c), EPERM, EPERM],
  ['link app.db-wal', (p, c) => p.link('app.db-wal', 'b', c), EPERM, EPERM],
  ['link to app.db-shm', (p, c) => p.link('notes.txt', 'app.db-shm', c), EPERM, EPERM],
  ['link notes.txt', (p, c) => p.link('notes.txt', 'b.txt', c), 0, 0],
  ['chmod app.db', (p, c) => p.setattr('app.db', c), 0, EROFS],
  ['chmod app.db-shm', (p, c) => p.setattr('app.db-shm', c), 0, 0],
  ['chmod notes.txt', (p, c) => p.setattr('notes.txt', c), 0, 0],
  ['truncate app.db-wal to 0', (p, c) => p.truncate('app.db-wal', 0, c), 'defer', EROFS],
  ['truncate app.db-wal to 32', (p, c) => p.truncate('app.db-wal', 32, c), 'defer', EROFS],
  ['truncate app.db-journal to 0', (p, c) => p.truncate('app.db-journal', 0, c), 'defer', EROFS],
  ['truncate app.db-shm', (p, c) => p.truncate('app.db-shm', 3, c), 0, 'keep'],
  ['truncate other.db-shm', (p, c) => p.truncate('other.db-shm', 3, c), 0, 0],
  ['truncate notes.txt-shm', (p, c) => p.truncate('notes.txt-shm', 3, c), 0, 0],
  ['truncate app.db', (p, c) => p.truncate('app.db', 0, c), 0, EROFS],
  ['truncate notes.txt', (p, c) => p.truncate('notes.txt', 0, c), 0, 0],
  ['link to new.db-wal', (p, c) => p.link('notes.txt', 'new.db-wal', c), 0, EROFS],
  ['rename to new.db-wal', (p, c) => p.rename('notes.txt', 'new.db-wal', c), 0, EROFS],
  ['rename to new.db-journal', (p, c) => p.rename('notes.txt', 'new.db-journal', c), 0, EROFS],
  ['rename new.db-wal', (p, c) => p.rename('new.db-wal', 'b', c), 0, 0],
  ['exchange new.db-wal', (p, c) => p.rename('new.db-wal', 'notes.txt', c), 0, EROFS],
  ['unlink app.db-wal', (p, c) => p.unlink('app.db-wal', c), 'defer', EROFS],
  ['unlink app.db-shm', (p, c) => p.unlink('app.db-shm', c), 'defer', EROFS],
  ['unlink app.db-journal', (p, c) => p.unlink('app.db-journal', c), 'defer', EROFS],
  ['unlink app.db', (p, c) => p.unlink('app.db', c), 'defer', EROFS],
  ['unlink new.db-shm', (p, c) => p.unlink('new.db-shm', c), 0, 0],
  ['unlink notes.txt', (p, c) => p.unlink('notes.txt', c), 0, 0],
  ['unlink notes.txt-wal', (p, c) => p.unlink('notes.txt-wal', c), 0, 0],
  ['rename app.db', (p, c) => p.rename('app.db', 'b.db', c), 'defer', EROFS],
  ['rename over app.db', (p, c) => p.rename('notes.txt', 'app.db', c), 'defer', EROFS],
  ['rename app.db-shm', (p, c) => p.rename('app.db-shm', 'x', c), 0, EROFS],
  ['rename over app.db-shm', (p, c) => p.rename('notes.txt', 'app.db-shm', c), 0, EROFS],
  ['rename notes.txt', (p, c) => p.rename('notes.txt', 'b.txt', c), 0, 0],
  ['rename to .primary', (p, c) => p.rename('notes.txt', '.primary', c), EACCES, EACCES],
  ['zero the journal', (p, c) => p.write('app.db-journal', 0, zeroedHeader, c), 'defer', EROFS],
  ['begin a journal', (p, c) => p.write('app.db-journal', 0, Buffer.alloc(28, 1), c), 0, EROFS],
  ['zeros further on', (p, c) => p.write('app.db-journal', 512, zeroedHeader, c), 0, EROFS],
  ['more zeros', (p, c) => p.write('app.db-journal', 0, Buffer.alloc(512), c), 0, EROFS],
  ['frames into app.db-wal', (p, c) => p.write('app.db-wal', 32, Buffer.alloc(64), c), 0, EROFS],
  ['write notes.txt-wal', (p, c) => p.write('notes.txt-wal', 32, Buffer.alloc(64), c), 0, 0],
  ['zeros in app.db', (p, c) => p.write('app.db', 0, zeroedHeader, c), 0, EROFS],
  ['write notes.txt', (p, c) => p.write('notes.txt', 0, zeroedHeader, c), 0, 0],
];

for (const role of ['primary', 'replica'] as const) {
  describe(`on a ${role}`, () => {
    for (const [name, operation, primary, replica] of TABLE) {
      const expected = role === 'primary' ? primary : replica;
      it(`${name}: ${verdictText(expected)}`, () =>
        withPolicy(role, ({ policy }) => {
          assert.equal(operation(policy, APP), expected);
          const reserved = expected === EACCES;
          const ours = reserved && !name.startsWith('rename') ? EACCES : 0;
          assert.equal(operation(policy, ENGINE), ours, 'our own engine passes');
        }));
    }
  });
}

describe('on a replica that has the halt lock', () => {
  const EIO = 5;
  type Said = ReturnType<Operation>;
  const HALTED: [string, Operation, Said, Said][] = [
    ['open app.db', (p, c) => p.open('app.db', fs.constants.O_RDWR, c), 0, EROFS],
    ['create app.db-journal', (p, c) => p.create('app.db-journal', c), EROFS, EROFS],
    ['write its journal', (p, c) => p.write('app.db-journal', 9, Buffer.alloc(8), c), EROFS, EROFS],
    ['zero its journal', (p, c) => p.write('app.db-journal', 0, zeroedHeader, c), EROFS, EROFS],
    ['unlink its journal', (p, c) => p.unlink('app.db-journal', c), EROFS, EROFS],
    ['empty its journal', (p, c) => p.truncate('app.db-journal', 0, c), EROFS, EROFS],
    ['begin its -wal', (p, c) => p.write('app.db-wal', 0, Buffer.alloc(32), c), 'defer', EIO],
    ['truncate its -wal', (p, c) => p.truncate('app.db-wal', 0, c), 'keep', 'keep'],
    ['unlink its -wal', (p, c) => p.unlink('app.db-wal', c), EROFS, EROFS],
    ['unlink app.db', (p, c) => p.unlink('app.db', c), EROFS, EROFS],
    ['rename app.db', (p, c) => p.rename('app.db', 'x', c), EROFS, EROFS],
    ['rename over app.db', (p, c) => p.rename('notes.txt', 'app.db', c), EROFS, EROFS],
    ['open b.db', (p, c) => p.open('b.db', fs.constants.O_RDWR, c), EROFS, EROFS],
  ];
  for (const [name, operation, open, closing] of HALTED) {
    it(`${name}: ${verdictText(open)}, then ${verdictText(closing)}`, () =>
      withPolicy('replica', ({ policy, shared, tree }) => {
        fs.copyFileSync(path.join(tree, 'app.db'), path.join(tree, 'b.db'));
        fs.writeFileSync(path.join(tree, 'app.db-wal'), '');
        shared.setHalt('open', 'app.db');
        assert.equal(operation(policy, APP), open);
        shared.setHalt('closing');
        assert.equal(operation(policy, APP), closing);
        shared.setHalt('none');
        assert.equal(policy.open('app.db', fs.constants.O_RDWR, APP), EROFS);
      }));
  }
});

describe('on a primary whose write lock is lent', () => {
  const EBUSY = 16;
  const LENT: [string, Operation, Verdict][] = [
    ['unlink app.db', (p, c) => p.unlink('app.db', c), EBUSY],
    ['unlink its -wal', (p, c) => p.unlink('app.db-wal', c), EBUSY],
    ['rename app.db', (p, c) => p.rename('app.db', 'x', c), EBUSY],
    ['rename over app.db', (p, c) => p.rename('notes.txt', 'app.db', c), EBUSY],
    ['truncate app.db', (p, c) => p.truncate('app.db', 0, c), EBUSY],
    ['truncate its -wal', (p, c) => p.truncate('app.db-wal', 0, c), EBUSY],
    ['fsync its -wal', (p, c) => p.fsync('app.db-wal', -1, c), 0],
    ['unlink b.db', (p, c) => p.unlink('b.db', c), 'defer'],
    ['rename b.db', (p, c) => p.rename('b.db', 'x', c), 'defer'],
    ['unlink notes.txt', (p, c) => p.unlink('notes.txt', c), 0],
  ];
  for (const [name, operation, expected] of LENT) {
    it(`${name}: ${verdictText(expected)}`, () =>
      withPolicy('primary', ({ policy, shared, tree }) => {
        fs.copyFileSync(path.join(tree, 'app.db'), path.join(tree, 'b.db'));
        const { ino } = fs.statSync(path.join(tree, 'app.db'), { bigint: true });
        assert(shared.setLent(ino, true));
        assert.equal(operation(policy, APP), expected);
        assert.equal(operation(policy, ENGINE), 0);
        assert(shared.setLent(ino, false));
        assert.equal(policy.unlink('app.db', APP), 'defer');
      }));
  }
});

describe('the first fsync of a -wal', () => {
  const walWith = (tree: string, salt: number) => {
    const header = Buffer.alloc(32);
    header.writeUInt32BE(salt, 16);
    const file = path.join(tree, 'app.db-wal');
    fs.writeFileSync(file, header);
    return fs.openSync(file, 'r');
  };
  const fsync = ({ policy, tree }: Stand, salt: number, caller = APP) => {
    const fd = walWith(tree, salt);
    try {
      return policy.fsync('app.db-wal', fd, caller);
    } finally {
      fs.closeSync(fd);
    }
  };

  it('is held back once for each generation', () =>
    withPolicy('primary', (stand) => {
      const verdicts = [1, 1, 2, 2, 1].map((salt) => fsync(stand, salt));
      assert.deepEqual(verdicts, ['defer', 0, 'defer', 0, 'defer']);
    }));

  it('is held back again when the file is a new one', () =>
    withPolicy('primary', (stand) => {
      fsync(stand, 1);
      stand.policy.event({ kind: 'removed', path: 'app.db-wal' });
      assert.equal(fsync(stand, 1), 'defer');
    }));

  it('goes on for ourselves, on a replica, without a header, and of other files', () =>
    withPolicy('primary', (stand) => {
      const { policy, shared, tree } = stand;
      assert.equal(fsync(stand, 1, ENGINE), 0);
      const fd = fs.openSync(path.join(tree, 'notes.txt'), 'r');
      try {
        assert.equal(policy.fsync('app.db', fd, APP), 0);
        fs.writeFileSync(path.join(tree, 'notes.txt'), 'short');
        assert.equal(policy.fsync('app.db-wal', fd, APP), 0);
      } finally {
        fs.closeSync(fd);
      }
      shared.role = 'replica';
      assert.equal(fsync(stand, 5), 0);
    }));
});

describe('the beginning of a journal', () => {
  const journal = 'app.db-journal';
  const header = Buffer.alloc(512, 1);
  /** Whether a write to the journal sets its times before it is done. */
  const marks = ({ policy, tree }: Stand, offset: number, data: Buffer) => {
    fs.utimesSync(path.join(tree, journal), 1, 1);
    policy.write(journal, offset, data, APP);
    return fs.statSync(path.join(tree, journal)).mtimeMs !== 1000;
  };
  const withJournal = (role: 'primary' | 'replica', body: (stand: Stand) => void) =>
    withPolicy(role, (stand) => {
      fs.writeFileSync(path.join(stand.tree, journal), '');
      body(stand);
    });

  it('is marked, when it was there before', () =>
    withJournal('primary', (stand) => {
      const { policy } = stand;
      policy.event({ kind: 'created', path: journal, isFile: true });
      assert.equal(marks(stand, 0, header), false, 'that it was made is seen');
      assert.equal(marks(stand, 512, header), false);
      assert.equal(marks(stand, 0, header.subarray(0, 12)), false, 'it is synced');
      assert.equal(marks(stand, 0, zeroedHeader), false, 'it ends');
      assert.equal(marks(stand, 0, header), true);
      policy.event({ kind: 'created', path: journal, isFile: true });
      policy.event({ kind: 'removed', path: journal });
      assert.equal(marks(stand, 0, header), true);
    }));

  it('is not marked on a replica, and one that is gone is no error', () =>
    withJournal('replica', (stand) => {
      const { policy, shared, tree } = stand;
      shared.setHalt('open', 'app.db');
      assert.equal(marks(stand, 0, header), false);
      shared.role = 'primary';
      fs.rmSync(path.join(tree, journal));
      assert.equal(policy.write(journal, 0, header, APP), 0);
    }));
});

describe('the cut of a database to the size that its header says', () => {
  /** Makes app.db one of three pages, as its header says; two more follow. */
  const withPages = (role: 'primary' | 'replica', body: (stand: Stand) => void) =>
    withPolicy(role, (stand) => {
      const file = Buffer.alloc(5 * 512);
      file.write('SQLite format 3\0', 'latin1');
      file.writeUInt16BE(512, 16);
      file.writeUInt32BE(3, 28);
      fs.writeFileSync(path.join(stand.tree, 'app.db'), file);
      body(stand);
    });
  const marked = ({ policy, cuts }: Stand, size: number, caller = APP) => {
    policy.truncate('app.db', size, caller);
    return fs.readdirSync(cuts);
  };

  it('is marked from its beginning to its end', () =>
    withPages('primary', (stand) => {
      const { policy, cuts } = stand;
      const end = (size: number) =>
        policy.event({ kind: 'truncated', path: 'app.db', size, pid: APP.pid });
      assert.deepEqual(marked(stand, 3 * 512), ['1.app.db']);
      end(3 * 512);
      assert.deepEqual(fs.readdirSync(cuts), []);
      assert.deepEqual(marked(stand, 4 * 512), ['2.app.db'], 'SQLite cuts to whole chunks, too');
      assert.deepEqual(marked(stand, 3 * 512), ['3.app.db'], 'the one before has failed');
      end(3 * 512);
      fs.rmdirSync(cuts);
      assert.equal(policy.truncate('app.db', 3 * 512, APP), 0, 'no room for a mark');
    }));

  it('is no other size, nobody else, and no growth', () =>
    withPages('primary', (stand) => {
      const { shared, tree } = stand;
      assert.deepEqual(marked(stand, 2 * 512), []);
      assert.deepEqual(marked(stand, 5 * 512), []);
      assert.deepEqual(marked(stand, 3 * 512, ENGINE), []);
      shared.role = 'replica';
      assert.deepEqual(marked(stand, 3 * 512), []);
      shared.role = 'primary';
      fs.writeFileSync(path.join(tree, 'app.db'), 'x'.repeat(2048));
      assert.deepEqual(marked(stand, 3 * 512), []);
    }));
});

describe('what the engine hears', () => {
  it('is what was held back, and what has happened to the tree', () =>
    withPolicy('primary', ({ policy, sent }) => {
      const operation: DeferredOperation = { token: 9n, kind: 'unlink', path: 'app.db' };
      policy.deferred(operation);
      const event: TreeEvent = { kind: 'removed', path: 'app.db' };
      policy.event(event);
      assert.deepEqual(sent, [
        { kind: 'deferred', operation },
        { kind: 'event', event },
      ]);
    }));

  it('is not that journals come and go, but folders and renames of such names', () =>
    withPolicy('primary', ({ policy, sent }) => {
      const journal = 'app.db-journal';
      policy.event({ kind: 'created', path: journal, isFile: true });
      policy.event({ kind: 'truncated', path: journal, size: 0, pid: APP.pid });
      policy.event({ kind: 'released', path: journal, pid: APP.pid });
      policy.event({ kind: 'removed', path: journal });
      assert.deepEqual(sent, []);
      policy.event({ kind: 'created', path: journal, isFile: false });
      policy.event({ kind: 'renamed', path: journal, newPath: 'b.db' });
      assert.equal(sent.length, 2);
    }));

  it('may let an operation go on, and nobody else may', () =>
    withPolicy('primary', ({ policy }) => {
      const name = resumeName(0xffn, 5);
      assert.deepEqual(policy.resumed(name, ENGINE), { token: 0xffn, errno: 5 });
      assert.equal(policy.resumed(name, APP), undefined);
      assert.equal(policy.resumed('user.other', ENGINE), undefined);
    }));
});

describe('the rename of a directory', () => {
  const withFolders = (role: 'primary' | 'replica', body: (stand: Stand) => void) =>
    withPolicy(role, (stand) => {
      const { tree } = stand;
      fs.mkdirSync(path.join(tree, 'apps/one'), { recursive: true });
      fs.copyFileSync(path.join(tree, 'app.db'), path.join(tree, 'apps/one/app.db'));
      fs.mkdirSync(path.join(tree, 'files/empty'), { recursive: true });
      fs.symlinkSync('../apps', path.join(tree, 'files/link'));
      fs.writeFileSync(path.join(tree, 'files/notes.txt'), 'x');
      body(stand);
    });

  it('is refused on a replica when it would move a database', () =>
    withFolders('replica', ({ policy, shared }) => {
      for (const dir of ['apps', 'apps/one']) {
        assert.equal(policy.rename(dir, 'moved', APP), EROFS, dir);
        assert.equal(policy.rename('files', dir, APP), EROFS, `exchange with ${dir}`);
      }
      shared.setHalt('open', 'apps/one/app.db');
      assert.equal(policy.rename('apps', 'moved', APP), EROFS);
      assert.equal(policy.rename('apps', 'moved', ENGINE), 0);
      for (const other of ['files', 'files/link', 'notes.txt', 'not there']) {
        assert.equal(policy.rename(other, 'moved', APP), 0, other);
      }
    }));

  it('goes on, on a primary', () =>
    withFolders('primary', ({ policy }) => {
      assert.equal(policy.rename('apps', 'moved', APP), 0);
    }));
});

it('journals never pass the mount by, all else may', () =>
  withPolicy('primary', ({ policy }) => {
    assert(!policy.mayPassthrough('app.db-journal', APP));
    for (const file of ['app.db', 'app.db-wal', 'app.db-shm', 'notes.txt']) {
      assert(policy.mayPassthrough(file, APP), file);
    }
  }));

it('a replica passes by what is a database, or is to be one of ours', () =>
  withPolicy('replica', ({ policy }) => {
    const passed = (file: string, caller?: Caller) => policy.mayPassthrough(file, caller);
    assert(passed('app.db') && passed('app.db', APP) && passed('app.db-shm', APP));
    assert(!passed('notes.txt', APP) && !passed('notes.txt') && !passed('app.db-wal', ENGINE));
    assert(passed('new.db', ENGINE));
  }));

it('a replica lets no application make a database, in one piece or in several', () =>
  withPolicy('replica', ({ policy, shared, tree }) => {
    const file = path.join(tree, 'new.db');
    const magic = Buffer.from('SQLite format 3\0');
    fs.writeFileSync(file, '');
    const write = (offset: number, data: Buffer, caller = APP) =>
      policy.write('new.db', offset, data, caller);
    assert.equal(write(0, Buffer.concat([magic, Buffer.alloc(100)])), EROFS);
    assert.equal(write(0, magic, ENGINE), 0);
    assert.equal(write(4096, magic), 0);
    assert.equal(write(0, magic.subarray(0, 8)), 0);
    fs.writeFileSync(file, magic.subarray(0, 8));
    assert.equal(write(8, magic.subarray(8, 15)), 0);
    assert.equal(write(8, magic.subarray(8)), EROFS);
    assert.equal(policy.write('gone.db', 0, magic, APP), 0);
    // Opened before the primary made it one.
    fs.writeFileSync(file, magic);
    assert.equal(write(4096, Buffer.alloc(8)), EROFS);
    shared.setHalt('open', 'new.db');
    assert.equal(write(4096, Buffer.alloc(8)), 0);
  }));

it('what is no file beside a replica’s database may be removed, and nothing else', () =>
  withPolicy('replica', ({ policy, tree }) => {
    fs.symlinkSync('/', path.join(tree, 'app.db-wal'));
    assert.equal(policy.unlink('app.db-wal', APP), 0);
    assert.equal(policy.unlink('app.db-shm', APP), EROFS);
    assert.equal(policy.rename('notes.txt', 'app.db-wal', APP), EROFS);
  }));

it('a link is no database, wherever it leads', () =>
  withPolicy('primary', ({ policy, tree }) => {
    fs.symlinkSync('app.db', path.join(tree, 'link.db'));
    assert.equal(policy.unlink('link.db', APP), 0);
    assert.equal(policy.virtual('link.db-pos'), undefined);
  }));

function verdictText(verdict: Verdict | 'keep'): string {
  if (verdict === 'keep') return 'is said to be done';
  if (verdict === 'defer') return 'waits for the engine';
  if (verdict === 0) return 'goes on';
  return { [EROFS]: 'EROFS', [EACCES]: 'EACCES' }[verdict] ?? 'EPERM';
}
