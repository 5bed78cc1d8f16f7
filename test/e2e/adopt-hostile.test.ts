/**
 * Root adopts and releases databases of an unprivileged user, who owns both folders and does there what a user may do.
 * Nothing of root's elsewhere changes: no owner, mode, content, nor the time of a change.
 *
 * On 25311ce: root's files were given to the user and overwritten by SQLite (the mounted copy `reserved` or `copied`; the
 * copy that release makes; the copy in the mount), made in root's folder (folders in the mount), and moved into the mount
 * (a folder that is a link; the folder itself). What a link named was removed (an announcement; a database of another user;
 * for a copy that another has made). A journal with a super-journal was taken. A -wal or journal that is no file was
 * refused as a fault of the disk, and the swapped database ended adopt with a system error.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { ADOPT_STEPS, type AdoptStep, adoptDatabase } from '../../src/cli/adopt/adopt.ts';
import { RELEASE_STEPS, releaseDatabase } from '../../src/cli/adopt/release.ts';
import { LiteFsError } from '../../src/errors.ts';
import type { DatabaseReport, NodeReport } from '../../src/http/info.ts';
import { sqlite3 } from '../harness/app.ts';
import { type Cluster, startCluster, type TestNode } from '../harness/cluster.ts';
import { whileSwapping } from '../harness/swapper.ts';

const USER = 4711;
const ROUNDS = Number(process.env.LITEFS_LITE_SWAP_ROUNDS ?? 5);

describe('adopt and release in folders of an unprivileged user', () => {
  let cluster: Cluster;
  let primary: TestNode;
  /** Root's, and as it was at the beginning of the test. */
  let vault: string;
  let untouched: string[];
  /** The user's. */
  let home: string;
  /** The user's in the mount. */
  let mounted: string;
  let databases = 0;
  /** As it was at first: what the user does in the mount is not this test's concern. */
  let node: NodeReport;
  const known = new Set(['not-theirs.db']);

  before(async () => {
    ({ cluster, primary } = await startCluster('auto', {
      replicas: 0,
      config: { fuse: { 'allow-other': true } },
    }));
    node = await primary.info();
    fs.chmodSync(cluster.dir, 0o755);
    vault = path.join(cluster.dir, 'vault');
    fs.mkdirSync(vault, { mode: 0o700 });
    for (const name of ['app.db', 'canary.db']) {
      sqlite3(path.join(vault, name), "CREATE TABLE t(x); INSERT INTO t VALUES('secret')");
      fs.chmodSync(path.join(vault, name), 0o600);
    }
    fs.writeFileSync(path.join(vault, 'canary.txt'), 'not yours', { mode: 0o600 });
    fs.mkdirSync(path.join(vault, 'empty'), { mode: 0o700 });
    home = path.join(cluster.dir, 'home');
    mounted = primary.file('home');
    for (const folder of [home, mounted]) {
      fs.mkdirSync(folder);
      fs.chownSync(folder, USER, USER);
    }
  });
  after(() => cluster?.close());
  beforeEach(() => {
    untouched = seen(vault);
  });

  const theirs = (file: string) => fs.lchownSync(file, USER, USER);
  const linkTo = (target: string, name: string) => {
    fs.symlinkSync(target, name);
    theirs(name);
  };
  /** A database of the user's, in a folder of its own in their home. */
  const create = (): { file: string; name: string; inMount: string } => {
    const folder = path.join(home, `${++databases}`);
    fs.mkdirSync(folder);
    theirs(folder);
    const file = path.join(folder, 'app.db');
    sqlite3(file, "CREATE TABLE t(x); INSERT INTO t VALUES('theirs')");
    theirs(file);
    const name = `home/${databases}.db`;
    return { file, name, inMount: primary.file(name) };
  };
  const adopt = (file: string, as: string, reached?: (step: AdoptStep) => void) => {
    known.add(as);
    return adoptDatabase({ file, as, node, keep: true, reached });
  };
  const release = (file: string, remove = false, reached?: (step: string) => void) => {
    const names = [...known].map((name) => ({ name }) as DatabaseReport);
    return releaseDatabase({ file, node: { ...node, databases: names }, delete: remove, reached });
  };
  /** Whatever has the name, a link to `target` takes its place. */
  const replace = (name: string, target: string) => {
    if (fs.lstatSync(name, { throwIfNoEntry: false })) fs.renameSync(name, `${name}.moved`);
    linkTo(target, name);
  };
  const canary = (name: string) => path.join(vault, name);
  const stillAll = () => assert.deepEqual(seen(vault), untouched);

  /** It went well, or it was refused for a reason that has a code. */
  const attempt = async (work: () => Promise<unknown>): Promise<string> => {
    try {
      await work();
      return 'done';
    } catch (error) {
      if (!(error instanceof LiteFsError)) throw error;
      return error.message;
    }
  };

  test('a folder that is a link of theirs is not followed', async () => {
    const link = path.join(home, 'link');
    linkTo(vault, link);
    await assert.rejects(adopt(path.join(link, 'app.db'), 'stolen.db'), {
      code: 'WRONG_STATE',
      message: /home\/link is a link to .*vault, and others than root can let it lead elsewhere/,
      hint: /name the path that it leads to: .*\/vault\//,
    });
    stillAll();
    assert(!fs.existsSync(primary.file('stolen.db')));
    const { file, inMount, name } = create();
    await adopt(file, name);
    fs.renameSync(file, path.join(home, 'app.db'));
    await assert.rejects(release(path.join(link, 'app.db')), { code: 'WRONG_STATE' });
    stillAll();
    assert(fs.existsSync(inMount));
  });

  test('a link of root’s in a folder of root’s is', async () => {
    const { file, name } = create();
    const link = path.join(cluster.dir, 'run');
    fs.symlinkSync('home', link);
    const { file: found } = await adopt(path.join(link, path.relative(home, file)), name);
    assert.equal(found, file);
  });

  for (const step of ADOPT_STEPS) {
    for (const which of ['file', 'adopting', 'before', 'mounted'] as const) {
      test(`adopt: a link in the place of ${which} when it is ${step}`, async () => {
        const { file, name, inMount } = create();
        const names = {
          file,
          adopting: `${file}.adopting-litefs-lite`,
          before: `${file}.before-litefs-lite`,
          mounted: inMount,
        };
        const reached = (now: AdoptStep) => {
          if (now === step) replace(names[which], canary('canary.db'));
        };
        await attempt(() => adopt(file, name, reached));
        stillAll();
        await attempt(() => adopt(file, name));
        stillAll();
      });
    }
  }

  for (const step of RELEASE_STEPS) {
    for (const which of ['file', 'releasing', 'mounted'] as const) {
      test(`release: a link in the place of ${which} when it is ${step}`, async () => {
        const { file, name, inMount } = create();
        await adopt(file, name);
        const names = { file, releasing: `${file}.releasing-litefs-lite`, mounted: inMount };
        const reached = (now: string) => {
          if (now === step) replace(names[which], canary('canary.db'));
        };
        await attempt(() => release(file, true, reached));
        stillAll();
        await attempt(() => release(file, true));
        stillAll();
      });
    }
  }

  for (const suffix of ['-wal', '-journal']) {
    test(`a ${suffix} that is a link, or a pipe, is refused and left alone`, async () => {
      const { file, name } = create();
      sqlite3(file, 'PRAGMA journal_mode=wal');
      const part = file + suffix;
      linkTo(canary('canary.txt'), part);
      const refusal = { code: 'WRONG_STATE', message: new RegExp(`app\\.db${suffix} is no file`) };
      await assert.rejects(adopt(file, name), refusal);
      stillAll();
      fs.rmSync(part);
      execFileSync('mkfifo', [part]);
      await assert.rejects(adopt(file, name), refusal);
      fs.rmSync(part);
      assert.equal((await adopt(file, name)).file, file);
    });
  }

  test('a journal that names a super-journal is refused: SQLite would go where it leads', async () => {
    const { file, name } = create();
    const named = Buffer.from(canary('x-mj0123ABCD'));
    const trailer = Buffer.alloc(16);
    trailer.writeUInt32BE(named.length, 0);
    trailer.writeUInt32BE(
      named.reduce((sum, byte) => sum + byte, 0),
      4,
    );
    const magic = Buffer.from('d9d505f920a163d7', 'hex');
    magic.copy(trailer, 8);
    fs.writeFileSync(`${file}-journal`, Buffer.concat([magic, Buffer.alloc(508), named, trailer]));
    await assert.rejects(adopt(file, name), {
      code: 'WRONG_STATE',
      message: /in the middle of a transaction over several databases/,
    });
    stillAll();
  });

  test('an announcement that no adoption has made removes nothing', async () => {
    const other = primary.file('of-another.db');
    sqlite3(other, 'CREATE TABLE t(x)');
    linkTo(vault, path.join(mounted, 'linked'));
    for (const target of [other, path.join(mounted, 'linked', 'canary.txt')]) {
      const { file, name } = create();
      linkTo(target, `${file}.adopting-litefs-lite`);
      await assert.rejects(adopt(file, name), { code: 'WRONG_STATE' });
      stillAll();
      assert.equal(sqlite3(other, 'SELECT count(*) FROM t'), '0');
    }
  });

  test('a link to a database of another user is not released, nor that database deleted', async () => {
    const other = primary.file('not-theirs.db');
    sqlite3(other, "CREATE TABLE t(x); INSERT INTO t VALUES('x')");
    for (const suffix of ['', '.releasing-litefs-lite']) {
      const { file } = create();
      fs.rmSync(file);
      linkTo(other, file + suffix);
      await assert.rejects(release(file, true), {
        code: 'WRONG_STATE',
        message: /belongs to user 4711, and .*not-theirs\.db to user 0/,
      });
      assert.equal(fs.lstatSync(file + suffix).isSymbolicLink(), true);
      assert.equal(sqlite3(other, 'SELECT x FROM t'), 'x');
    }
  });

  test('a database is not deleted for a copy that another has made', async () => {
    const { file, name, inMount } = create();
    await adopt(file, name);
    // As if release had died when the names had changed places.
    fs.renameSync(file, `${file}.releasing-litefs-lite`);
    sqlite3(file, 'CREATE TABLE t(x)');
    await assert.rejects(release(file, true), { code: 'WRONG_STATE', message: /was not removed/ });
    assert.equal(sqlite3(inMount, 'SELECT x FROM t'), 'theirs');
  });

  test('a folder in the mount that is a link is not entered', async () => {
    linkTo(vault, path.join(mounted, 'sub'));
    linkTo(canary('empty'), path.join(mounted, 'void'));
    for (const folder of ['sub', 'void', 'sub/new']) {
      const { file } = create();
      fs.lchownSync(file, 0, 0);
      await assert.rejects(adopt(file, `home/${folder}/x.db`), {
        code: 'WRONG_STATE',
        message: /is no directory/,
      });
      stillAll();
    }
  });

  test('a folder that is being made for it in the mount is not another’s in its place', async () => {
    const { file } = create();
    const reached = (step: AdoptStep) => {
      if (step === 'announced') linkTo(vault, path.join(mounted, 'late'));
    };
    await assert.rejects(adopt(file, 'home/late/x.db', reached), { code: 'WRONG_STATE' });
    stillAll();
  });

  type Pairs = [string, string][];
  const inFolder =
    (suffix: string) =>
    ({ file }: { file: string }): Pairs => {
      linkTo(canary('canary.db'), `${file}.lure`);
      return [[file + suffix, `${file}.lure`]];
    };
  const races: Record<string, (made: ReturnType<typeof create>) => Pairs> = {
    'the database': inFolder(''),
    'the link that adopt makes': inFolder('.adopting-litefs-lite'),
    'the copy that release makes': inFolder('.releasing-litefs-lite'),
    'the folder itself': ({ file }) => {
      const folder = path.dirname(file);
      linkTo(vault, `${folder}.lure`);
      return [[folder, `${folder}.lure`]];
    },
    'the copy in the mount': ({ inMount }) => {
      linkTo(canary('canary.db'), `${inMount}.lure`);
      return [[inMount, `${inMount}.lure`]];
    },
  };
  for (const [what, pairsFor] of Object.entries(races)) {
    test(`a process of theirs swaps ${what} for a link all the time`, async (t) => {
      const outcomes = new Map<string, number>();
      const count = (text: string) => {
        const kind = text.replaceAll(/\S*\/\S*/g, '…');
        outcomes.set(kind, (outcomes.get(kind) ?? 0) + 1);
      };
      let swaps = 0;
      for (let round = 0; round < ROUNDS; round++) {
        const made = create();
        swaps += await whileSwapping(USER, pairsFor(made), async () => {
          count(`adopt: ${await attempt(() => adopt(made.file, made.name))}`);
          count(`release: ${await attempt(() => release(made.file, round % 2 === 0))}`);
        });
        stillAll();
      }
      t.diagnostic(`${swaps} swaps; ${JSON.stringify(Object.fromEntries(outcomes))}`);
      assert(swaps > 0);
    });
  }

  test('and when that has ended, the same folders work', async () => {
    const { file, name, inMount } = create();
    await adopt(file, name);
    assert.deepEqual(
      [fs.lstatSync(inMount).uid, fs.lstatSync(inMount).mode & 0o777],
      [USER, 0o644],
    );
    sqlite3(file, "INSERT INTO t VALUES('new')");
    await release(file, true);
    assert.deepEqual(sqlite3(file, 'SELECT x FROM t').split('\n'), ['theirs', 'new']);
    assert.equal(fs.lstatSync(file).uid, USER);
    assert.deepEqual(fs.readdirSync(path.dirname(file)), ['app.db']);
  });
});

/** All that can be seen of a folder and what lies below it. */
function seen(dir: string): string[] {
  const stat = fs.lstatSync(dir, { bigint: true });
  const { uid, gid, mode, ino, nlink, size, mtimeNs, ctimeNs } = stat;
  const isFolder = stat.isDirectory();
  const content = stat.isFile() ? fs.readFileSync(dir, 'base64') : '';
  return [
    [dir, uid, gid, mode.toString(8), ino, nlink, size, mtimeNs, ctimeNs, content].join(' '),
    ...(isFolder ? fs.readdirSync(dir).flatMap((name) => seen(path.join(dir, name))) : []),
  ];
}
