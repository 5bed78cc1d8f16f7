/** A primary and its replica for a whole suite of tests, and what must be true of both at the end of each. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, describe, type TestContext } from 'node:test';
import Sqlite from 'better-sqlite3';
import {
  type Cluster,
  inSync,
  type Passthrough,
  startCluster,
  type TestNode,
  until,
} from './cluster.ts';
import { databaseImage } from './image.ts';

/** Filled in before the first test of the suite runs. */
export interface Pair {
  primary: TestNode;
  replica: TestNode;
}

/** The tests that `define` makes, once with FUSE passthrough and once without, each on nodes of its own. */
export function describePair(
  title: string,
  define: (pair: Pair, passthrough: Passthrough) => void,
): void {
  for (const passthrough of ['auto', 'off'] as const) {
    describe(`${title}, passthrough ${passthrough}`, () => {
      const pair = {} as Pair;
      let cluster: Cluster;
      before(async () => {
        const { primary, replica, ...started } = await startCluster(passthrough);
        cluster = started.cluster;
        Object.assign(pair, { primary, replica });
      });
      after(() => cluster?.close());
      define(pair, passthrough);
    });
  }
}

/** A connection that is closed at the end of the test, whatever comes of it. */
export function open(t: TestContext, file: string, options?: Sqlite.Options): Sqlite.Database {
  const db = new Sqlite(file, options);
  t.after(() => db.close());
  return db;
}

/** Until the file of the replica has all that its -wal has: readers go to the file then. */
export async function untilCopied({ primary, replica }: Pair, name: string): Promise<void> {
  await inSync(primary, replica, name);
  const image = databaseImage(primary.backing(name));
  await until(`the file of ${name} has all pages`, () =>
    fs.readFileSync(replica.backing(name)).equals(image),
  );
}

/** Waits for the replica, and holds both databases side by side: every byte, and SQLite's own opinion. */
export async function assertReplicated({ primary, replica }: Pair, name: string): Promise<void> {
  await inSync(primary, replica, name);
  assert.notEqual(await replica.position(name), '', `${name} is on the replica`);
  const ours = databaseImage(primary.backing(name));
  const theirs = databaseImage(replica.backing(name));
  assert.equal(theirs.length, ours.length, `sizes of ${name}`);
  assert.ok(theirs.equals(ours), `the images of ${name} differ`);
  const copy = new Sqlite(replica.file(name), { readonly: true });
  try {
    assert.equal(copy.pragma('integrity_check', { simple: true }), 'ok');
  } finally {
    copy.close();
  }
}
