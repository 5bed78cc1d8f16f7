/** The local secret of a node: made once, private, and never by following what lies at its name. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { keepLocalSecret, readLocalSecret } from '../../../src/store/local-secret.ts';
import { withFolder } from '../os/folder.ts';

const NOBODY = 65534;
const SECRET = 'A'.repeat(43);

/** What is kept, and why what was there is not. */
function keep(file: string): { secret: string; reasons: string[] } {
  const reasons: string[] = [];
  return { secret: keepLocalSecret(file, (reason) => reasons.push(reason)), reasons };
}

describe('the local secret', () => {
  it('is made once, for its owner alone, whatever the umask', () =>
    withFolder((folder) => {
      const file = path.join(folder, 'local-secret');
      assert.deepEqual(readLocalSecret(file), { kind: 'absent' });
      const umask = process.umask(0);
      try {
        const { secret, reasons } = keep(file);
        assert.match(secret, /^[A-Za-z0-9_-]{43}$/);
        assert.deepEqual(reasons, []);
        const { mode, uid } = fs.statSync(file);
        assert.deepEqual([mode & 0o7777, uid], [0o600, process.geteuid?.()]);
        assert.deepEqual(keep(file), { secret, reasons: [] });
        assert.deepEqual(readLocalSecret(file), { kind: 'kept', secret, uid });
        assert.deepEqual(fs.readdirSync(folder), ['local-secret']);
      } finally {
        process.umask(umask);
      }
      assert.notEqual(keep(path.join(folder, 'another')).secret, keep(file).secret);
    }));

  const found: [what: string, reason: RegExp, make: (file: string) => void][] = [
    [
      'others may use',
      /other users/,
      (file) => fs.writeFileSync(file, `${SECRET}\n`, { mode: 0o640 }),
    ],
    ['is empty', /something else/, (file) => fs.writeFileSync(file, '', { mode: 0o600 })],
    ['is short', /something else/, (file) => fs.writeFileSync(file, 'hush\n', { mode: 0o600 })],
    [
      'is long',
      /something else/,
      (file) => fs.writeFileSync(file, `${SECRET}\nand more`, { mode: 0o600 }),
    ],
    ['is a link', /symbolic link/, (file) => fs.symlinkSync(`${file}.target`, file)],
    ['is a dangling link', /symbolic link/, (file) => fs.symlinkSync('/nowhere/at/all', file)],
    ['is a fifo', /no file/, (file) => execFileSync('mkfifo', ['-m', '600', file])],
    [
      'belongs to another user',
      /another user/,
      (file) => {
        fs.writeFileSync(file, `${SECRET}\n`, { mode: 0o600 });
        fs.chownSync(file, NOBODY, NOBODY);
      },
    ],
  ];
  for (const [what, reason, make] of found) {
    it(`is made, in the place of a file that ${what}`, () =>
      withFolder((folder) => {
        const file = path.join(folder, 'local-secret');
        fs.writeFileSync(`${file}.target`, `${SECRET}\n`, { mode: 0o600 });
        make(file);
        const { secret, reasons } = keep(file);
        assert.notEqual(secret, SECRET);
        assert.equal(reasons.length, 1);
        assert.match(reasons[0], reason);
        const stat = fs.lstatSync(file);
        assert(stat.isFile());
        assert.deepEqual([stat.mode & 0o7777, stat.uid], [0o600, process.geteuid?.()]);
        assert.deepEqual(keep(file), { secret, reasons: [] });
        assert.equal(fs.readFileSync(`${file}.target`, 'utf8'), `${SECRET}\n`);
      }));
  }

  it('is written through no link at the name of its part, nor of a run that was cut off', () =>
    withFolder((folder) => {
      const file = path.join(folder, 'local-secret');
      const target = path.join(folder, 'target');
      for (const make of [
        () => fs.symlinkSync(target, `${file}.part`),
        () => fs.linkSync(target, `${file}.part`),
        () => fs.writeFileSync(`${file}.part`, 'half', { mode: 0o644 }),
      ]) {
        fs.writeFileSync(target, 'untouched');
        fs.rmSync(file, { force: true });
        make();
        keep(file);
        assert.equal(fs.readFileSync(target, 'utf8'), 'untouched');
        assert.equal(fs.statSync(file).mode & 0o7777, 0o600);
        assert.deepEqual(fs.readdirSync(folder).sort(), ['local-secret', 'target']);
      }
    }));

  it('is not taken for absent when that cannot be told', () =>
    withFolder((folder) => {
      fs.writeFileSync(path.join(folder, 'file'), '');
      const below = path.join(folder, 'file', 'local-secret');
      assert.throws(() => readLocalSecret(below), { code: 'ENOTDIR' });
      assert.throws(() => keep(below), { code: 'ENOTDIR' });
      const taken = path.join(folder, 'local-secret');
      fs.mkdirSync(taken);
      assert.throws(() => keep(taken), { code: 'EISDIR' });
    }));
});
