/** `litefs-lite config check` and `config schema`. */

import type { Config } from '../config/config.ts';
import { configJsonSchema } from '../config/json-schema.ts';
import { loadConfig } from '../config/load.ts';
import type { SnapshotConfig } from '../config/snapshots.ts';
import { formatAddress, socketAt } from '../config/values.ts';
import { nextTimes } from '../snapshots/schedule.ts';
import { printJson, printLine, printText } from './print.ts';

interface CheckFlags {
  readonly config?: string;
  readonly expandEnv: boolean;
  readonly json?: boolean;
}

/** Prints what the file means; throws CONFIG when it is wrong. The secret is not shown. */
export function configCheck(file: string | undefined, flags: CheckFlags): number {
  const loaded = loadConfig(file ?? flags.config, {
    env: process.env,
    cwd: process.cwd(),
    expandEnv: flags.expandEnv,
  });
  const { config } = loaded;
  if (flags.json) {
    const replication = { ...config.replication, secret: config.replication.secret && '…' };
    const shown = {
      file: loaded.file,
      config: { ...config, replication },
      warnings: loaded.warnings,
    };
    printJson(shown);
    return 0;
  }
  printText(`${loaded.file} is right:\n${describe(config)}`);
  for (const warning of loaded.warnings) printLine(`  warning: ${warning}`);
  return 0;
}

/** Prints the JSON Schema of the file. */
export function configSchema(): number {
  printJson(configJsonSchema());
  return 0;
}

function describe(config: Config): string {
  const { primary } = config.replication;
  const role = config.lease.candidate
    ? 'this node is the primary'
    : `this node is a replica of ${primary?.host}:${primary?.port}`;
  const secret = config.replication.secret
    ? 'with a secret'
    : 'without a secret: anybody may connect';
  const lines = [
    role,
    `databases are opened in ${config.fuse.dir} and kept in ${config.data.dir}`,
    `replicas connect to ${formatAddress(config.replication.addr)}, ${secret}`,
    `the API listens on ${formatAddress(config.http.addr)} and at ${socketAt(config.http, config.http.addr.port)}`,
    ...(config.snapshots ? describeSnapshots(config.snapshots) : ['cuts no snapshots']),
    ...config.exec.map(({ argv }) => `runs: ${argv.join(' ')}`),
  ];
  return lines.map((line) => `  ${line}\n`).join('');
}

const NEXT_TIMES = 3;
const TIME_FIELDS = {
  year: 'numeric',
  month: '2-digit',
  day: '2-digit',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
} as const;

function describeSnapshots(snapshots: SnapshotConfig): string[] {
  const { dir, schedule, timezone, incrementsMs, on } = snapshots;
  const who = on === 'any' ? '' : ` on the ${on}`;
  const between = incrementsMs === 0 ? 'nothing' : `a restore point every ${incrementsMs / 1000} s`;
  const times = nextTimes(schedule, timezone, NEXT_TIMES).map((time) =>
    time.toLocaleString('sv-SE', { ...TIME_FIELDS, timeZone: timezone, timeZoneName: 'short' }),
  );
  return [
    `snapshots are cut${who} to ${dir}, with ${between} between them`,
    `the next ones: ${times.join(', ')}`,
  ];
}
