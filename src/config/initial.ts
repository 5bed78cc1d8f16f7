/**
 * The config file that a package installs, and what `litefs-lite init` makes of it. The text below is
 * packaging/litefs-lite.yml; a test holds the two together. Every change is a line of it that is replaced, so the
 * comments are the same in all files.
 */

export const SHIPPED_CONFIG = `# litefs-lite: see litefs-lite.yml(5). Check it with: litefs-lite config check
#
# As it stands this node is a primary by itself: applications open their SQLite databases below /litefs.
# For a second machine set replication.secret here, and on the replica the same file with candidate: false.

fuse:
  # Where applications open databases.
  dir: /litefs
  # Also for applications that do not run as root. File permissions are kept.
  allow-other: true

data:
  # Databases and the log of transactions; a local file system.
  dir: /var/lib/litefs

lease:
  type: static
  # true on the one node that writes, false on all others.
  candidate: true
  # The primary's address, the same on all nodes:
  #advertise-url: "http://10.0.0.1:20202"

http:
  # The API and the status page. ":20202" for all of the network.
  addr: "127.0.0.1:20202"
  # Who shows this may read the status, and nobody else: another one than the secret, as well kept.
  #status-token-file: /etc/litefs-lite.status-token

replication:
  # Where replicas connect. ":20204" for all of the network; then set a secret.
  addr: "127.0.0.1:20204"
  # The same on all nodes, and not for others to read: here, or as the one line of a file.
  #secret: "..."
  #secret-file: /etc/litefs-lite.secret

# Browsers may use any node: reads are answered there, writes go to the primary. The same on all nodes.
#proxy:
#  addr: ":80"
#  target: "localhost:8080"
#  db: app.db

# Snapshots each night, and a restore point every ten seconds between them: litefs-lite snapshots, litefs-lite restore.
# Best on another disk.
snapshots:
  dir: /var/backups/litefs-lite
  schedule: "0 3 * * *"
  #increments: 10s
  #keep: {last: 3, hourly: 24, daily: 7, weekly: 4, monthly: 12, within: 48h}

# An application that starts when the node is primary or in sync, and stops with it.
#exec:
#  - cmd: "/usr/bin/myapp --database /litefs/app.db"
#    user: myapp
`;

export interface InitialSettings {
  readonly role: 'primary' | 'replica';
  /** Where the primary is, as in advertise-url: a name or an address; IPv6 without brackets. */
  readonly host: string;
  readonly httpPort: number;
  readonly replicationPort: number;
  readonly secret: string;
  /** fuse.dir and data.dir, when they are not the usual ones. */
  readonly mountDir?: string;
  readonly dataDir?: string;
}

const DEFAULT_HTTP_PORT = 20202;
const DEFAULT_REPLICATION_PORT = 20204;

/** The text of a config file for one node of a cluster. */
export function initialConfig(settings: InitialSettings): string {
  const { role, httpPort, mountDir, dataDir } = settings;
  const host = urlHost(settings.host);
  const isPrimary = role === 'primary';
  const changes: [string, string][] = [
    [INTRODUCTION, isPrimary ? PRIMARY_INTRODUCTION : REPLICA_INTRODUCTION],
    [
      '  #advertise-url: "http://10.0.0.1:20202"',
      `  advertise-url: ${quoted(`http://${host}:${httpPort}`)}`,
    ],
    ['  candidate: true', `  candidate: ${isPrimary}`],
    ['  addr: "127.0.0.1:20204"', replicationLines(settings, host)],
    ['  #secret: "..."', `  secret: ${quoted(settings.secret)}`],
  ];
  if (isPrimary && httpPort !== DEFAULT_HTTP_PORT) {
    changes.push(['  addr: "127.0.0.1:20202"', `  addr: "127.0.0.1:${httpPort}"`]);
  }
  if (mountDir !== undefined) changes.push(['  dir: /litefs', `  dir: ${quoted(mountDir)}`]);
  if (dataDir !== undefined) changes.push(['  dir: /var/lib/litefs', `  dir: ${quoted(dataDir)}`]);
  return changes.reduce((text, [from, to]) => replaceLines(text, from, to), SHIPPED_CONFIG);
}

const INTRODUCTION = `\
# As it stands this node is a primary by itself: applications open their SQLite databases below /litefs.
# For a second machine set replication.secret here, and on the replica the same file with candidate: false.`;

const PRIMARY_INTRODUCTION = `\
# Written by litefs-lite init: this node is the primary. It holds the secret, so only root may read it.
# For another machine run "litefs-lite token" here, and there: litefs-lite init --token -`;

const REPLICA_INTRODUCTION = `\
# Written by litefs-lite init: this node is a replica. It holds the secret, so only root may read it.
# To make it the primary: candidate: true here and false there; see docs/operations.md for the order.`;

/** Where the node listens; open to the network also on a replica, which may become the primary. */
function replicationLines({ role, replicationPort }: InitialSettings, host: string): string {
  if (role === 'primary') return `  addr: ":${replicationPort}"`;
  const own = `  addr: ":${DEFAULT_REPLICATION_PORT}"`;
  if (replicationPort === DEFAULT_REPLICATION_PORT) return own;
  return `${own}\n  primary: ${quoted(`${host}:${replicationPort}`)}`;
}

/** Whole lines, which must be there once: a template that has changed is a bug here. */
function replaceLines(text: string, from: string, to: string): string {
  const parts = `\n${text}`.split(`\n${from}\n`);
  if (parts.length !== 2) throw new Error(`the shipped config has no line ${from}, or several`);
  return parts.join(`\n${to}\n`).slice(1);
}

/** As YAML has text; a dollar sign would be a variable. */
function quoted(text: string): string {
  return JSON.stringify(text).replaceAll('$', '$$$$');
}

/** A host as URLs and addresses have it. */
export function urlHost(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
