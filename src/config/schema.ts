/**
 * The config file: every field with its type, default and meaning. The one source for validation,
 * JSON Schema (`litefs-lite config schema`) and whatever else describes the file.
 *
 * Fields are LiteFS's (v0.5.14), by their names and defaults, and ours. One that LiteFS has and
 * that changes nothing here is marked `ineffective`, with the reason: the file is accepted, and a warning says so.
 */
import { z } from 'zod';
import { Fault } from './fault.ts';
import { proxy } from './proxy.ts';
import { snapshots } from './snapshots.ts';
import {
  absolutePath,
  account,
  command,
  duration,
  fileMode,
  flag,
  hostname,
  hostWithoutPort,
  httpUrl,
  listenAddress,
  owner,
  peerAddress,
  scalar,
  size,
  socketPath,
  text,
  variables,
} from './values.ts';

/** A group of keys. An empty one (`data:` and nothing below it) is as good as none. */
function section<T extends z.core.$ZodLooseShape>(shape: T) {
  return z.preprocess((value) => value ?? {}, z.strictObject(shape)).prefault({});
}

const NO_LITEFS_CLOUD = 'LiteFS Cloud is gone';
const NO_TRACE = 'there is no trace log; log.debug shows more';
const STATIC_ONLY = 'the primary is assigned in the config';

const WITHOUT_CONSUL =
  'write type: static, candidate: true on the one node that writes (false on all others), ' +
  'and advertise-url: "http://<that node>:20202"';

const exec = z
  .preprocess(
    (value) => (typeof value === 'string' ? [{ cmd: value }] : value),
    z.array(
      z.strictObject({
        cmd: command().describe(
          'The command and its arguments; split into words, not run by a shell.',
        ),
        'if-candidate': flag()
          .prefault(false)
          .describe('Only on a node with lease.candidate: true.'),
        user: account()
          .optional()
          .describe(
            'As whom it runs: a user of /etc/passwd by name or number, in its groups of /etc/group. Default: as the daemon.',
          ),
        group: account()
          .optional()
          .describe('The group that it runs in, by name or number. Default: that of the user.'),
        env: variables().prefault({}).describe('More variables of its environment.'),
        'clean-env': flag()
          .optional()
          .describe(
            "Of the daemon's environment pass on only PATH, LANG, LC_* and TZ. Default: true where user is given, else false.",
          ),
      }),
    ),
  )
  .prefault([])
  .meta({
    orText: true,
    description:
      'The application: started when this node is primary or in sync, stopped with it; its exit ' +
      'status is ours. A command, or a list of them: run in order, each but the last must succeed, the last one stays.',
  });

const data = section({
  dir: text()
    .prefault('/var/lib/litefs')
    .describe('Where databases and the log of transactions are kept.'),
  compress: flag().prefault(true).describe('Compress pages in the log of transactions (LZ4).'),
  retention: duration()
    .prefault('10m')
    .describe(
      'How long transactions stay in the log; a replica away for longer gets whole pages instead. ' +
        'The newest is always kept.',
    ),
  'retention-bytes': size()
    .prefault('2GiB')
    .describe(
      'The most that the log of one database may hold, also when a connected replica or the archive of ' +
        'snapshots still needs older transactions; 0 is no limit. The newest is always kept.',
    ),
  'retention-monitor-interval': duration()
    .prefault('1m')
    .describe('How often the log is searched for transactions to remove or to merge.'),
}).describe('Storage.');

const fuse = section({
  dir: text().prefault('/litefs').describe('The mount point: where applications open databases.'),
  'allow-other': flag()
    .prefault(false)
    .describe('Let users other than the one that runs the daemon use the mount.'),
  debug: flag().prefault(false).describe('Log every request of the file system. Slow.'),
  passthrough: z
    .enum(['auto', 'on', 'off'])
    .prefault('auto')
    .describe(
      'Let the kernel read and write database files without asking the daemon (Linux 6.9 or ' +
        'newer, as root). auto: when it can; on: refuse to start when it cannot.',
    ),
  'wait-for-old-handles': duration()
    .prefault('10s')
    .describe(
      'After a crash: how long to wait at start for processes that still write to files of the ' +
        'earlier mount. Then the start fails, and names them.',
    ),
  'replica-owner': owner()
    .optional()
    .describe(
      'To whom databases and the folders above them belong on a replica: "user", "user:group" or ":group", by name or ' +
        'number. Default: to whom they belong on the primary, by name where this machine has it, else by number.',
    ),
  'replica-mode': fileMode()
    .optional()
    .describe(
      'The permissions of databases on a replica, such as "0640". Who may read one may enter the folders above it. Default: ' +
        'as on the primary.',
    ),
}).describe('The mount.');

const http = section({
  addr: listenAddress().prefault(':20202').describe('Where the API listens.'),
  socket: socketPath()
    .optional()
    .describe(
      'The Unix socket of the API, where commands on this machine ask: for root and members of the group litefs-lite. ' +
        'Default: /run/litefs-lite/<port of addr>.sock.',
    ),
  hosts: z
    .array(hostWithoutPort())
    .prefault([])
    .describe(
      'More names by which browsers and programs ask the API, as behind a proxy. Addresses, the names of the machine ' +
        'and those in lease are known.',
    ),
  'status-token': text()
    .optional()
    .describe(
      'What programs and browsers must show at addr to read the status: /info, /history, /databases, /snapshots, /events, ' +
        '/metrics. It opens nothing else. Without it whoever reaches addr may read them.',
    ),
  'status-token-file': absolutePath()
    .optional()
    .describe('The file with that token, instead: one line, for others not to read.'),
  'snapshot-timeout': duration().prefault('0').meta({
    description: 'LiteFS: how long sending a snapshot may take.',
    ineffective: 'a snapshot is sent for as long as it makes progress',
  }),
}).describe('The HTTP API.');

const replication = section({
  addr: listenAddress().prefault(':20204').describe('Where replicas connect to this node, by TCP.'),
  primary: peerAddress()
    .optional()
    .describe(
      "Where a replica connects to. Default: the host of lease.advertise-url with replication.addr's port.",
    ),
  secret: text()
    .optional()
    .describe(
      'What all nodes share and a stranger does not know: who cannot prove it is not let in. The API takes it from programs ' +
        'on other machines. Best kept in secret-file, or an environment variable.',
    ),
  'secret-file': absolutePath()
    .optional()
    .describe(
      'The file with the secret, instead of secret: one line, for others not to read. With LoadCredential=secret:FILE in the ' +
        'unit: /run/credentials/litefs-lite.service/secret.',
    ),
}).describe('Replication between nodes.');

const lease = section({
  type: scalar(parseLeaseType, { type: 'string', enum: ['static'] })
    .prefault('static')
    .describe('How the primary is chosen: static, by lease.candidate.'),
  hostname: hostname()
    .optional()
    .describe(
      'The name of this node, which .primary shows on replicas. Default: the name of the machine.',
    ),
  'advertise-url': httpUrl()
    .optional()
    .describe("The primary's URL, the same on all nodes. A replica finds the primary by its host."),
  candidate: flag().prefault(true).describe('true: this node is the primary. On exactly one node.'),
  promote: flag()
    .prefault(false)
    .meta({ description: 'LiteFS: become primary after the start.', ineffective: STATIC_ONLY }),
  'reconnect-delay': duration()
    .prefault('1s')
    .describe('How long a replica waits before it connects again; grows while that fails.'),
  'demote-delay': duration().prefault('10s').meta({
    description: 'LiteFS: how long a demoted node stays out of the election.',
    ineffective: STATIC_ONLY,
  }),
  databases: z.array(text()).optional().describe('The databases to replicate. Default: all.'),
  consul: scalar(() => new Fault(`has no place here: remove it; ${WITHOUT_CONSUL}`), { not: {} })
    .optional()
    .describe('LiteFS: the Consul lease, which does not exist here.'),
}).describe('Which node is the primary.');

const backup = section({
  type: z.string().optional().describe('LiteFS: litefs-cloud or file.'),
  path: z.string().optional().describe('LiteFS: where to, for a file backup.'),
  url: z.string().optional().describe('LiteFS: the backup service.'),
  cluster: z.string().optional().describe('LiteFS: the name of the cluster there.'),
  'auth-token': z.string().optional().describe('LiteFS: the token for it.'),
}).meta({ description: 'LiteFS: backup to LiteFS Cloud.', ineffective: NO_LITEFS_CLOUD });

const log = section({
  format: z
    .enum(['auto', 'text', 'json'])
    .prefault('auto')
    .describe(
      'auto: text on a terminal and in the journal, where each line has its priority; JSON to a pipe or a file.',
    ),
  timestamp: flag()
    .prefault(false)
    .describe('Begin lines of text with the time; JSON always has it.'),
  debug: flag().prefault(false).describe('Log more.'),
}).describe('Logging, to standard error.');

const verify = section({
  background: duration()
    .prefault('24h')
    .describe('In this time each page is read once and compared with its checksum. 0: never.'),
}).describe('How what is on the disk is checked while the node runs.');

const tracing = section({
  enabled: flag().prefault(true).describe('LiteFS: write the trace log.'),
  path: z.string().optional().describe('LiteFS: its file.'),
  'max-size': z.number().optional().describe('LiteFS: when to begin a new file, MB.'),
  'max-count': z.number().optional().describe('LiteFS: how many files to keep.'),
  compress: flag().prefault(true).describe('LiteFS: compress old files.'),
}).meta({ description: 'LiteFS: the trace log.', ineffective: NO_TRACE });

export const configFileSchema = z
  .strictObject({
    'exit-on-error': flag()
      .prefault(true)
      .describe('false: stay up after an error at start, to look into it.'),
    'skip-sync': flag()
      .prefault(false)
      .describe('Start exec at once, without waiting to be primary or in sync.'),
    'strict-verify': flag()
      .prefault(false)
      .describe('Compute the checksum of the whole database anew after each transaction. Slow.'),
    verify,
    exec,
    data,
    fuse,
    http,
    replication,
    lease,
    snapshots,
    log,
    proxy,
    backup,
    tracing,
  })
  .describe("The configuration of litefs-lite; a superset of LiteFS's litefs.yml.");

/** The file's content with defaults, values parsed (durations in ms), keys as in the file. */
export type ConfigFile = z.output<typeof configFileSchema>;

function parseLeaseType(value: unknown): 'static' | Fault {
  if (value === 'static') return 'static';
  return new Fault(
    value === 'consul'
      ? `cannot be consul, nothing here needs Consul: ${WITHOUT_CONSUL}`
      : 'must be static',
  );
}
