/** The halt lock as users take it, and what must be true of all nodes afterwards. */
import assert from 'node:assert/strict';
import Sqlite from 'better-sqlite3';
import { type CliRun, runCli } from './cli.ts';
import { inSync, type TestNode } from './cluster.ts';
import { databaseImage } from './image.ts';

export const JOURNAL_MODES = ['wal', 'delete', 'truncate', 'persist'] as const;

/** `litefs-lite run -with-halt-lock-on DB -- COMMAND` against a node. */
export function underLock(
  node: TestNode,
  database: string,
  command: readonly string[],
): Promise<CliRun> {
  return runCli([...lockArguments(node, database), ...command]);
}

export function lockArguments(node: TestNode, database: string): string[] {
  return ['run', '-config', node.configFile, '-with-halt-lock-on', node.file(database), '--'];
}

export function sqlite(node: TestNode, database: string, sql: string): Promise<CliRun> {
  return underLock(node, database, ['sqlite3', '-batch', '-bail', node.file(database), sql]);
}

export async function halt(node: TestNode, method: 'POST' | 'DELETE', query: string) {
  const response = await node.api(`/halt?${query}`, { method });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

export async function assertSame(nodes: readonly TestNode[], database: string): Promise<void> {
  const [primary, ...others] = nodes;
  const ours = async () => databaseImage(primary.backing(database));
  for (const node of others) {
    await inSync(primary, node, database);
    assert.ok(databaseImage(node.backing(database)).equals(await ours()), `${node.name} is equal`);
    const copy = new Sqlite(node.file(database), { readonly: true });
    assert.equal(copy.pragma('integrity_check', { simple: true }), 'ok');
    copy.close();
    const info = await node.api(`/verify?name=${database}`);
    assert.equal(((await info.json()) as { ok: boolean }).ok, true, `${node.name} is verified`);
  }
}
