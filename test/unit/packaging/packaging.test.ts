/** What a package has beside the program: its configs are right, its pages and completions name every command. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { parse } from 'yaml';
import { allCommands } from '../../../scripts/package/commands.ts';
import { bashCompletion } from '../../../scripts/package/completions.ts';
import { licenses } from '../../../scripts/package/licenses.ts';
import { commandsPage, configPage } from '../../../scripts/package/man.ts';
import { configJsonSchema } from '../../../src/config/json-schema.ts';
import { loadConfig, loadConfigAlone } from '../../../src/config/load.ts';
import { VERSION } from '../../../src/version.ts';

const ROOT = path.resolve(import.meta.dirname, '../../..');
const commands = allCommands();
const SECRET = 'what all nodes of the cluster share';

describe('the configs', () => {
  const load = (file: string, env: Record<string, string>) =>
    loadConfig(path.join(ROOT, 'packaging', file), { env, cwd: '/', expandEnv: true });

  it('as installed is a primary by itself that only this machine reaches', () => {
    const { config, warnings } = load('litefs-lite.yml', {});
    assert.deepEqual(warnings, []);
    assert.equal(config.lease.candidate, true);
    assert.equal(config.fuse.dir, '/litefs');
    for (const { addr } of [config.http, config.replication]) assert.equal(addr.host, '127.0.0.1');
  });

  it('of the container is made by its environment', () => {
    const primary = load('container.yml', { LITEFS_SECRET: SECRET }).config;
    assert.equal(primary.lease.candidate, true);
    const replica = load('container.yml', {
      LITEFS_SECRET: SECRET,
      LITEFS_CANDIDATE: 'false',
    }).config;
    assert.deepEqual(replica.replication.primary, { host: 'primary', port: 20204 });
    const compose = parse(
      fs.readFileSync(path.join(ROOT, 'packaging/examples/compose.yml'), 'utf8'),
      {
        merge: true,
      },
    );
    assert.deepEqual(Object.keys(compose.services), ['primary', 'replica']);
  });

  it('in the examples are right', () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-test-'));
    after(() => fs.rmSync(folder, { recursive: true }));
    const text = fs.readFileSync(path.join(ROOT, 'packaging/examples/two-nodes.md'), 'utf8');
    const file = path.join(folder, 'litefs-lite.yml');
    fs.writeFileSync(file, /```yaml\n([^`]*)```/.exec(text)?.[1] ?? '');
    const { config } = loadConfigAlone(file, { env: {}, cwd: '/', expandEnv: true });
    assert.equal(config.replication.secretFile, '/etc/litefs-lite.secret');
  });
});

describe('man pages and completions', () => {
  it('name every command and field', () => {
    const page = commandsPage(commands, VERSION, '2026-11-24');
    for (const { words, subcommands } of commands) {
      if (subcommands.length === 0)
        assert(page.includes(`.SS litefs\\-lite ${words.join(' ').replaceAll('-', '\\-')}`));
    }
    const fields = configPage(configJsonSchema(), VERSION, '2026-11-24');
    for (const field of ['data.retention\\-bytes', 'lease.candidate', 'exec', 'exec[].user']) {
      assert(fields.includes(`.B ${field}\n`), field);
    }
  });

  it('complete in bash', () => {
    const complete = (...words: string[]) =>
      execFileSync('bash', [
        '-c',
        `${bashCompletion(commands)}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _litefs_lite; echo "\${COMPREPLY[*]}"`,
        'bash',
        'litefs-lite',
        ...words,
      ])
        .toString()
        .trim();
    assert.equal(complete('sta'), 'status');
    assert.equal(complete('config', ''), 'check schema --help');
    assert.equal(complete('ltx', 'list', '--j'), '--json');
  });
});

it('the unit may set the attribute that keeps the bare mount point from being written', () => {
  const unit = fs.readFileSync(path.join(ROOT, 'debian/litefs-lite.service'), 'utf8');
  const [, without, names] = /^CapabilityBoundingSet=(~?)(.*)$/m.exec(unit) ?? [];
  assert.equal(names.split(' ').includes('CAP_LINUX_IMMUTABLE'), without === '', names);
});

it('the licenses of what is inside are there', () => {
  const text = licenses(ROOT);
  for (const name of ['better-sqlite3', 'koffi', 'pino', 'yaml', `node-linux-${process.arch}`]) {
    assert(text.includes(`\n${name} `) || text.startsWith(`${name} `), name);
  }
  assert(!text.includes('esbuild'), 'what only builds it is not inside');
});
