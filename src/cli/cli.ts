/** The command line: the table of commands, from which help comes. */

import { Command, CommanderError, Option } from 'commander';
import { errorText, isOutsideFault, LiteFsError } from '../errors.ts';
import { TRANSFER_COMMAND, transferProcess } from '../transfer/process.ts';
import { VERSION } from '../version.ts';
import { adopt, release } from './adopt.ts';
import { configCheck, configSchema } from './config.ts';
import { diff } from './diff.ts';
import { doctor } from './doctor.ts';
import { init } from './init.ts';
import { ltxDump, ltxList, ltxVerify } from './ltx.ts';
import { mount } from './mount.ts';
import { guardMountPoint, printMountPoint, unguardMountPoint } from './mount-point.ts';
import { printError, printErrors, printLine } from './print.ts';
import { restore } from './restore.ts';
import { run as runWhereItBelongs } from './run.ts';
import { snapshot, snapshots } from './snapshots.ts';
import { status } from './status.ts';
import { token } from './token.ts';
import { exportDatabase, importDatabase } from './transfer.ts';
import { verify } from './verify.ts';

const EXIT_USAGE = 64;
/** As of a program that SIGPIPE has ended. */
const EXIT_PIPE = 141;
const VERSION_TEXT = `litefs-lite ${VERSION}, node ${process.versions.node}`;

/** LiteFS has single-dash flags: -config is --config. Not behind --, where the app's own arguments are. */
export function normalizeArguments(argv: readonly string[]): string[] {
  const end = argv.indexOf('--');
  const ours = end < 0 ? argv : argv.slice(0, end);
  const rest = end < 0 ? [] : argv.slice(end);
  return [...ours.map((arg) => (/^-[a-z][a-z.-]+(=|$)/.test(arg) ? `-${arg}` : arg)), ...rest];
}

/** Runs a command line (without node and script); resolves with the exit status. */
export async function runCli(argv: readonly string[]): Promise<number> {
  let exitStatus = 0;
  // Those two have nothing to say there; looking at it would make a pipe non-blocking that their programs write to.
  if (argv[0] !== 'mount' && argv[0] !== 'run') endWithReader(process.stdout);
  const run =
    <A extends unknown[]>(command: (...args: A) => Promise<number> | number) =>
    async (...args: A) => {
      exitStatus = await command(...args);
    };
  const program = buildProgram(run);
  try {
    await program.parseAsync(normalizeArguments(argv), { from: 'user' });
    return exitStatus;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
    const { code, message, hint, exitStatus: status } = named(error);
    // Of a config, each thing that is wrong has a line.
    if (code === 'CONFIG' && !hint) printErrors(message);
    else printError(message, hint);
    return status;
  }
}

/** A reader may have seen enough, as head has, or the disk of the output is full: then there is nobody to go on for. */
function endWithReader(stream: NodeJS.WriteStream): void {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(EXIT_PIPE);
    printError(`standard output: ${error.message}`);
    process.exit(named(error).exitStatus);
  });
}

/** What the file system refuses where nobody looked for it names its file. Throws a bug. */
function named(error: unknown): LiteFsError {
  if (error instanceof LiteFsError) return error;
  if (!isOutsideFault(error)) throw error;
  return new LiteFsError('DISK', errorText(error), {
    hint: 'Is its disk there, writable, and not full? May this user use it?',
    cause: error,
  });
}

export type Runner = <A extends unknown[]>(
  command: (...args: A) => Promise<number> | number,
) => (...args: A) => Promise<void>;

/** All commands. `run` turns what a command does into what is called when it is given: help and man pages need none. */
export function buildProgram(run: Runner): Command {
  const program = new Command('litefs-lite')
    .description(
      'SQLite on more than one machine: a mounted directory whose databases are replicated',
    )
    .version(VERSION_TEXT, '--version', 'print the version')
    .exitOverride()
    .showSuggestionAfterError()
    .helpCommand(false);
  const url = () =>
    new Option('--url <url>', "the node's HTTP address (else the config's http.addr)");
  const json = () => new Option('--json', 'print JSON');
  const configFile = () => new Option('--config <file>', 'config file (else the search path)');
  const dir = () =>
    new Option('--dir <dir>', "where snapshots are (else the config's snapshots.dir)");
  const noExpand = () =>
    new Option('--no-expand-env', 'leave $VARIABLES in the config as they are');

  program
    .command('init')
    .description('write the config file of a new node')
    .option('--primary', 'this node is the primary (this is the default)')
    .option('--replica-of <host>', 'this node is a replica of that one; the token may say it too')
    .option(
      '--token <token>',
      'what "litefs-lite token" printed on the primary; - reads it from standard input',
    )
    .option('--dir <mount>', 'where applications open databases (else /litefs)')
    .option('--data <dir>', 'where databases are kept (else /var/lib/litefs)')
    .addOption(new Option('--config <file>', 'the file to write').default('/etc/litefs-lite.yml'))
    .option('--force', 'replace a file that was edited; it is kept as FILE.old')
    .addHelpText(
      'after',
      '\nOn the primary, and then with what the second command prints on each replica:\n' +
        '  litefs-lite init\n  litefs-lite token\n  litefs-lite init --token lfl1....',
    )
    .action(run(init));
  program
    .command('token')
    .description(
      'print one line that makes another machine a replica: litefs-lite init --token ...',
    )
    .addOption(configFile())
    .addHelpText('after', '\nExample:\n  litefs-lite token | ssh box2 litefs-lite init --token -')
    .action(run(token));

  program
    .command('doctor')
    .description('look for what keeps a node from running; exit status 1 when something failed')
    .addOption(configFile())
    .addOption(json())
    .addHelpText('after', '\nIt changes nothing. Run it as root, on the node that has the trouble.')
    .action(run(doctor));

  program
    .command('mount')
    .description('mount the file system and replicate until stopped')
    .addOption(configFile())
    .addOption(noExpand())
    .option('--skip-unmount', 'leave the mount alone when stopping')
    .option('--debug', 'log more')
    .option('--fuse.debug', 'log every request of the file system')
    .option('--tracing', 'accepted for LiteFS; has no effect')
    .argument('[command...]', 'an app to run in place of exec, behind --')
    .addHelpText(
      'after',
      '\nExample:\n  litefs-lite mount -config /etc/litefs.yml -- myapp -addr :8080',
    )
    .action(run(mount));
  program
    .command('status')
    .description('show the node, its databases and who follows whom')
    .option('--watch', 'show it again each second until Ctrl-C')
    .addOption(url())
    .addOption(configFile())
    .addOption(json())
    .action(run(status));
  program
    .command('verify')
    .description('read every page, on a replica also on its primary, and compare')
    .argument('[database]', 'one database (else all)')
    .option('--snapshots', 'read every file of the archives instead, as a restore would')
    .addOption(url())
    .addOption(dir())
    .addOption(configFile())
    .addOption(json())
    .addHelpText(
      'after',
      '\nExit status: 0 all is well; 65 something is wrong; 75 a replica could not be compared with its primary.',
    )
    .action(run(verify));

  program
    .command('adopt')
    .description('move a database into the mount of the primary, and leave a link in its place')
    .argument('<file>', 'an SQLite database that nobody has open')
    .option('--as <name>', 'its path in the mount (else its own name)')
    .option('--delete', 'keep no FILE.before-litefs-lite')
    .addOption(url())
    .addOption(configFile())
    .addHelpText(
      'after',
      '\nExample:\n  systemctl stop myapp\n  litefs-lite adopt /var/lib/myapp/app.db\n  systemctl start myapp',
    )
    .action(run(adopt));
  program
    .command('release')
    .description('put a copy of the present state in the place of the link that adopt left')
    .argument('<file>', 'the link')
    .option('--delete', 'remove the database from the mount, and so from all replicas')
    .addOption(url())
    .addOption(configFile())
    .addHelpText('after', '\nExample:\n  litefs-lite release /var/lib/myapp/app.db')
    .action(run(release));
  program
    .command('export')
    .description('copy a database out of a running node, as it is at one moment')
    .argument('<database>', 'its path in the mount')
    .argument('[file]', 'the file to make (else standard output)')
    .option('--force', 'replace the file if it exists')
    .addOption(url())
    .addOption(configFile())
    .addHelpText(
      'after',
      '\nFrom another machine: LITEFS_SECRET=... litefs-lite export --url http://HOST:20202 ...',
    )
    .action(run(exportDatabase));
  program
    .command('import')
    .description('put a database into the primary, as one transaction; replaces one of that name')
    .argument('<database>', 'its path in the mount')
    .argument('<file>', 'an SQLite database')
    .addOption(url())
    .addOption(configFile())
    .addHelpText(
      'after',
      '\nTo another machine: LITEFS_SECRET=... litefs-lite import --url http://HOST:20202 ...',
    )
    .action(run(importDatabase));
  program
    .command('run')
    .description('run a command if this node is the right one for it')
    .option('--if-primary', 'only on the primary')
    .option('--if-candidate', 'only where lease.candidate is true')
    .option(
      '--with-halt-lock-on <database>',
      'let the command write this database, also on a replica: the primary does not meanwhile',
    )
    .argument('<command...>', 'the command, behind --')
    .addOption(url())
    .addOption(configFile())
    .addHelpText(
      'after',
      '\nExamples:\n  litefs-lite run -if-primary -- myapp cleanup' +
        '\n  litefs-lite run -with-halt-lock-on app.db -- myapp migrate',
    )
    .action(run(runWhereItBelongs));

  program
    .command('snapshot')
    .description('have the node cut a snapshot now')
    .argument('[database]', 'one database (else all)')
    .option('--dir <dir>', 'copy it to this directory as well')
    .addOption(url())
    .addOption(configFile())
    .addOption(json())
    .action(run(snapshot));
  program
    .command('snapshots')
    .description('list the states that can be restored')
    .argument('[database]', 'one database (else all)')
    .addOption(dir())
    .addOption(configFile())
    .addOption(json())
    .action(run(snapshots));
  program
    .command('restore')
    .description('make a database file of a former state')
    .argument('<database>', 'its path in the mount')
    .option('--output <file>', 'the file to make')
    .option('--in-place', 'write it into the running primary, as one transaction')
    .option('--at <time>', 'the last state until then: "2026-11-22 14:05", "14:05", "-10m"')
    .option('--txid <hex>', 'the state after that transaction')
    .option('--latest', 'the newest state (this is the default)')
    .addOption(dir())
    .addOption(configFile())
    .addOption(
      new Option('--check <how>', 'full: with PRAGMA integrity_check')
        .choices(['full', 'quick'])
        .default('full'),
    )
    .option('--force', 'replace the output if it exists')
    .addOption(url())
    .addHelpText(
      'after',
      '\nExamples:\n  litefs-lite restore app.db --at -10m --output /tmp/app.db\n' +
        '  litefs-lite restore app.db --dir /mnt/nas/litefs --at "2026-11-22 14:05" --output app.db\n' +
        '  litefs-lite restore app.db --at 14:05 --in-place',
    )
    .action(run(restore));
  program
    .command('diff')
    .description('which tables differ between two moments; exit status 1 when some do')
    .argument('<database>', 'its path in the mount')
    .requiredOption('--from <time>', 'as restore --at, or a transaction of 16 hex digits')
    .option('--to <time>', 'the same (else the newest state)')
    .option('--scratch <dir>', 'where both are restored to meanwhile (else $TMPDIR)')
    .addOption(dir())
    .addOption(configFile())
    .addOption(json())
    .addHelpText('after', '\nExample:\n  litefs-lite diff app.db --from -2h --to -1h')
    .action(run(diff));

  const ltx = program.command('ltx').description('look into LTX files, the log of transactions');
  ltx
    .command('list')
    .description('one line for each transaction in these files')
    .argument('<files...>', '.ltx or .seg files')
    .addOption(json())
    .action(run(ltxList));
  ltx
    .command('dump')
    .description('the header, pages and trailer of one file')
    .argument('<file>', 'an .ltx file')
    .addOption(json())
    .action(run(ltxDump));
  ltx
    .command('verify')
    .description('check files against their checksums')
    .argument('<files...>', '.ltx or .seg files')
    .action(run(ltxVerify));

  const config = program.command('config').description('check a config file, or print its schema');
  config
    .command('check')
    .description('say whether a config file is right, and what it means')
    .argument('[file]', 'config file (else the search path)')
    .addOption(configFile())
    .addOption(noExpand())
    .addOption(json())
    .action(run(configCheck));
  config
    .command('schema')
    .description('print the JSON Schema of the config, for editors')
    .action(run(configSchema));

  const mountPoint = program
    .command('mount-point')
    .description('keep the folder below the mount from being written, or give it back');
  mountPoint
    .command('guard')
    .description('make it immutable, as each start of the node and the package do')
    .addOption(configFile())
    .action(run(guardMountPoint));
  mountPoint
    .command('unguard')
    .description('undo that, so that the folder can be removed')
    .argument('[dir]', "the folder (else the config's fuse.dir)")
    .addOption(configFile())
    .action(run(unguardMountPoint));
  mountPoint
    .command('path')
    .description('print the folders that are guarded, one a line')
    .addOption(configFile())
    .action(run(printMountPoint));

  program
    .command('version')
    .description('print the version')
    .action(
      run(() => {
        printLine(VERSION_TEXT);
        return 0;
      }),
    );
  program.command(TRANSFER_COMMAND, { hidden: true }).action(run(transferProcess));
  return program;
}
