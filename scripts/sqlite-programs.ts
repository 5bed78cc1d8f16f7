/**
 * Runs SQLite's own load programs in the mount of a primary with a replica, and compares the two byte for byte:
 *
 *   scripts/node scripts/sqlite-programs.ts FOLDER [--size N] [--only WORD]
 *
 * FOLDER holds the compiled programs `speedtest1`, `kvtest` and `mptest` and mptest's scripts (`*.test`), from
 * SQLite's source tree. --size: of speedtest1's load, 100 is its own default. --only: the jobs whose name has the word.
 * Each job runs with FUSE passthrough and without. Ends with status 1 when one of them fails.
 */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { startCluster, type TestNode } from '../test/harness/cluster.ts';
import { assertReplicated } from '../test/harness/replicated.ts';

const JOB_MS_MAX = 600_000;
const OUTPUT_CHARS_SHOWN = 1500;

const ALL_MODES = ['wal', 'delete', 'truncate', 'persist'];
/** With the journal modes it can do: config01 and config02 set some and page sizes of their own, which WAL forbids. */
const MPTEST_SCRIPTS: readonly [string, readonly string[]][] = [
  ['config01', ['delete']],
  ['config02', ['delete']],
  ['crash01', ALL_MODES],
  ['multiwrite01', ALL_MODES],
];

interface Job {
  readonly name: string;
  /** Command lines run one after the other; `DB` stands for the database. */
  readonly commands: readonly (readonly string[])[];
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { size: { type: 'string', default: '20' }, only: { type: 'string', default: '' } },
});
const [folder] = positionals;
if (folder === undefined) {
  console.error('usage: scripts/node scripts/sqlite-programs.ts FOLDER [--size N] [--only WORD]');
  process.exit(64);
}
const jobs = jobList(path.resolve(folder), values.size).filter(({ name }) =>
  name.includes(values.only),
);
let failures = 0;
for (const passthrough of ['auto', 'off'] as const) {
  const { cluster, primary, replica } = await startCluster(passthrough);
  try {
    for (const job of jobs) {
      const verdict = await runJob(job, primary, replica);
      if (verdict.startsWith('FAILED')) failures++;
      console.log(`passthrough ${passthrough.padEnd(4)}  ${job.name.padEnd(32)}  ${verdict}`);
    }
  } finally {
    await cluster.close();
  }
}
process.exitCode = failures === 0 ? 0 : 1;

function jobList(programs: string, size: string): Job[] {
  const program = (name: string) => path.join(programs, name);
  const found: Job[] = [];
  for (const mode of ALL_MODES) {
    found.push({
      name: `speedtest1 ${mode}`,
      commands: [[program('speedtest1'), '--journal', mode, '--size', size, '--verify', 'DB']],
    });
  }
  for (const mode of ['wal', 'delete']) {
    const update = ['--update', '--jmode', mode, '--count', '2000', '--random', '--multitrans'];
    found.push({
      name: `kvtest ${mode}`,
      commands: [
        [
          program('kvtest'),
          'init',
          'DB',
          '--count',
          '2000',
          '--size',
          '9000',
          '--variance',
          '8000',
        ],
        [program('kvtest'), 'run', 'DB', ...update, '--integrity-check'],
        [program('kvtest'), 'run', 'DB', '--mmap', '1000000', '--count', '2000', '--blob-api'],
        [program('kvtest'), 'stat', 'DB', '--vacuum'],
      ],
    });
  }
  for (const [script, modes] of MPTEST_SCRIPTS) {
    for (const mode of modes) {
      const options = ['--journalmode', mode, '--quiet'];
      found.push({
        name: `mptest ${script} ${mode}`,
        commands: [[program('mptest'), 'DB', program(`${script}.test`), ...options]],
      });
    }
  }
  return found;
}

/** What became of it, in a line; FAILED and why. */
async function runJob(job: Job, primary: TestNode, replica: TestNode): Promise<string> {
  const name = `${job.name.replaceAll(/[ .]/g, '-')}.db`;
  const startedMs = performance.now();
  try {
    for (const [program, ...args] of job.commands) {
      const file = primary.file(name);
      await run(
        program,
        args.map((arg) => (arg === 'DB' ? file : arg)),
      );
    }
    const ranMs = performance.now();
    await assertReplicated({ primary, replica }, name);
    const seconds = (ms: number) => (ms / 1000).toFixed(1);
    const followed = seconds(performance.now() - ranMs);
    const position = await primary.position(name);
    return `same at ${position.slice(0, 16)}: ran ${seconds(ranMs - startedMs)} s, compared ${followed} s`;
  } catch (error) {
    return `FAILED: ${(error as Error).message}`;
  }
}

/** Resolves when it ends with 0; rejects with the end of its output otherwise. */
function run(program: string, args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: path.dirname(program), timeout: JOB_MS_MAX });
    let output = '';
    const keep = (text: Buffer) => {
      output = (output + text).slice(-OUTPUT_CHARS_SHOWN);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', reject);
    child.on('close', (status, signal) => {
      if (status === 0) resolve();
      else
        reject(
          new Error(`${program} ${args.join(' ')} ended with ${signal ?? status}:\n${output}`),
        );
    });
  });
}
