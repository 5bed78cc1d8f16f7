/** What the door gives out, and what it says of all else. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { describe, it } from 'node:test';
import { O_PATH, openBeneath, walkBeneath } from '../../../src/os/beneath.ts';
import { errno } from '../../../src/os/libc.ts';
import { TreeDoor } from '../../../src/store/tree-door.ts';
import { openBelow } from '../../../src/store/tree-door-async.ts';
import { withFolder } from '../os/folder.ts';

const { O_CREAT, O_RDONLY, O_RDWR } = fs.constants;

interface Stand {
  readonly door: TreeDoor;
  readonly tree: string;
  /** A folder beside the tree, with a file. */
  readonly outside: string;
}

/** A tree with one of each kind, a folder, and links to a file and a folder outside of it. */
function withTree(body: (stand: Stand) => void | Promise<void>): Promise<void> {
  return withFolder(async (folder) => {
    const [tree, outside] = ['tree', 'outside'].map((name) => path.join(folder, name));
    for (const dir of [tree, outside, `${tree}/sub`]) fs.mkdirSync(dir);
    for (const file of [`${tree}/file`, `${tree}/sub/file`, `${outside}/file`]) {
      fs.writeFileSync(file, file);
    }
    const server = net.createServer();
    await new Promise<void>((resolve) => server.listen(`${tree}/socket`, resolve));
    fs.symlinkSync(`${outside}/file`, `${tree}/link`);
    fs.symlinkSync(outside, `${tree}/linked`);
    fs.symlinkSync('nothing', `${tree}/dangling`);
    makeFifo(`${tree}/fifo`);
    const door = new TreeDoor(tree);
    try {
      await body({ door, tree, outside });
    } finally {
      door.close();
      server.close();
    }
  });
}

function makeFifo(file: string): void {
  process.getBuiltinModule('node:child_process').execFileSync('mkfifo', [file]);
}

const KINDS = {
  file: 'file',
  'sub/file': 'file',
  sub: 'directory',
  link: 'link',
  dangling: 'link',
  linked: 'link',
  fifo: 'FIFO',
  socket: 'socket',
  nothing: undefined,
  'linked/file': undefined,
  'file/x': undefined,
  '../outside/file': undefined,
};

describe('the door', () => {
  it('tells what lies under a name, and follows nothing', () =>
    withTree(({ door }) => {
      const names = Object.keys(KINDS).filter((name) => !name.includes('..'));
      for (const name of names) {
        assert.equal(door.kind(name), KINDS[name as keyof typeof KINDS], name);
        assert.equal(door.stat(name) !== undefined, door.kind(name) !== undefined, name);
      }
      assert.deepEqual(door.firstOther('s', ['ub/file', 'ocket', 'ub']), {
        name: 'socket',
        kind: 'socket',
      });
      assert.equal(door.firstOther('linked/f', ['ile']), undefined);
    }));

  it('opens files, and waits for nothing', () =>
    withTree(({ door, outside }) => {
      for (const [name, kind] of Object.entries(KINDS)) {
        for (const open of [
          () => door.open(name),
          () => door.open(name, O_RDWR),
          () => door.openCached(name, O_RDWR),
        ]) {
          if (name.includes('..')) {
            assert(['EXDEV', 'unknown'].includes(attempt(open) as string), name);
          } else if (kind === undefined) {
            // Of what has no name the kernel may know nothing.
            assert(['unknown', undefined].includes(open() as undefined), name);
          } else if (kind === 'file') {
            const fd = open();
            assert(typeof fd === 'number');
            assert.match(fs.readFileSync(fd, 'utf8'), new RegExp(`/${name}$`));
            fs.closeSync(fd);
          } else {
            const found = attempt(open);
            assert(found === undefined || found === 'NOT_A_FILE', `${name}: ${found}`);
          }
        }
        if (kind && kind !== 'file') {
          const what = kind === 'link' ? 'symbolic link' : kind;
          assert.throws(() => door.open(name), {
            code: 'NOT_A_FILE',
            message: `${name} is a ${what}, not a file`,
          });
        }
      }
      assert.deepEqual(fs.readdirSync(outside), ['file']);
    }));

  it('makes, moves and removes nothing outside', () =>
    withTree(({ door, tree, outside }) => {
      const before = fs.readdirSync(tree).sort();
      const ours = path.join(path.dirname(tree), 'ours');
      fs.writeFileSync(ours, 'ours');
      for (const name of ['link', 'dangling', 'linked/new', 'linked', 'fifo/new', 'sub', 'fifo']) {
        for (const change of [
          () => door.create(name, O_RDWR, 0o600),
          () => door.moveIn(ours, name),
          () => door.linkIn(ours, name),
          () => door.makeDirectories(`${name}/deep/er`),
        ]) {
          if (name === 'sub' && change.toString().includes('makeDirectories')) continue;
          assert.throws(change, { code: 'NOT_A_FILE' }, `${name}: ${change}`);
        }
        assert.equal(door.moveOut(name, `${ours}-out`), false, name);
      }
      door.unlink('linked/file');
      assert.throws(() => door.unlink('sub'), { code: 'NOT_A_FILE' });
      assert.deepEqual(fs.readdirSync(outside), ['file']);
      assert.deepEqual(fs.readdirSync(tree).sort(), before);

      fs.closeSync(door.create('new/folder/file', O_RDWR, 0o600));
      assert.equal(door.linkIn(ours, 'sub/file'), false, 'a file keeps its name');
      assert(door.linkIn(ours, 'new/linked'));
      assert.equal(fs.statSync(ours).nlink, 2);
      door.unlink('new/linked');
      door.moveIn(ours, 'sub/file');
      assert.equal(fs.readFileSync(`${tree}/sub/file`, 'utf8'), 'ours');
      assert(door.linkOut('sub/file', `${ours}-linked`));
      assert.equal(fs.statSync(`${ours}-linked`).nlink, 2);
      assert.throws(() => door.linkOut('link', `${ours}-link`), { code: 'NOT_A_FILE' });
      assert(door.moveOut('sub/file', ours));
      assert.equal(door.hasFile('sub/file'), false);
      door.unlink('link');
      assert.deepEqual(fs.readdirSync(outside), ['file']);
    }));

  it('lists directories, and none through a link', () =>
    withTree(({ door, tree }) => {
      assert.deepEqual(
        door
          .list('')
          .map(({ name }) => name)
          .sort(),
        fs.readdirSync(tree).sort(),
      );
      assert.deepEqual(
        door.list('sub').map(({ name }) => name),
        ['file'],
      );
      for (const name of ['linked', 'nothing', 'file']) {
        assert.throws(() => door.list(name), /^Error: E(LOOP|NOENT|NOTDIR): open/, name);
      }
    }));

  it('gives nothing out once it is closed', () =>
    withTree(({ door }) => {
      door.close();
      door.close();
      assert.throws(() => door.open('file'), { code: 'EBADF' });
    }));

  it('is the same for a thread that may not wait', () =>
    withTree(async ({ tree, outside }) => {
      for (const name of ['file', 'sub/file']) {
        const file = await openBelow(tree, name, O_RDONLY);
        assert.match(await file.readFile('utf8'), new RegExp(`/${name}$`));
        await file.close();
      }
      for (const name of ['link', 'linked/file', 'dangling', 'nothing', '../outside/file']) {
        await assert.rejects(
          openBelow(tree, name, O_RDWR | (O_CREAT * Number(name !== 'nothing'))),
        );
      }
      const fifo = await openBelow(tree, 'fifo', O_RDONLY);
      await fifo.close();
      assert.deepEqual(fs.readdirSync(outside), ['file']);
    }));
});

describe('opening beneath a directory', () => {
  it('is the same without openat2', () =>
    withTree(({ tree }) => {
      const dir = fs.openSync(tree, O_RDONLY);
      try {
        for (const [name, kind] of Object.entries(KINDS)) {
          for (const flags of [O_RDONLY, O_RDWR, O_PATH]) {
            const [one, other] = [openBeneath, walkBeneath].map((open) => open(dir, name, flags));
            for (const fd of [one, other]) if (fd >= 0) fs.closeSync(fd);
            // A link in the middle is no directory to the one, and a link to the other.
            const links = [-errno.ELOOP, -errno.ENOTDIR];
            const same = one === other || (links.includes(one) && links.includes(other));
            assert(same || (one >= 0 && other >= 0), `${name} (${kind}): ${one}, ${other}`);
          }
        }
        assert.equal(openBeneath(dir, '..', O_RDONLY), -errno.EXDEV);
        assert.equal(walkBeneath(dir, '..', O_RDONLY), -errno.EXDEV);
        assert.equal(openBeneath(dir, '/etc/passwd', O_RDONLY), -errno.EXDEV);
        assert.equal(walkBeneath(dir, '/etc/passwd', O_RDONLY), -errno.EXDEV);
      } finally {
        fs.closeSync(dir);
      }
    }));
});

function attempt(open: () => unknown): unknown {
  try {
    return open();
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
}
