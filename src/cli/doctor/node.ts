/** What the running node says of itself and of its databases. */
import { type NodeReport, whyDisconnected } from '../../http/info.ts';
import { type Finding, fail, ok, warn } from './finding.ts';

const BEHIND_MS_MAX = 10_000;

/** `why`: what asking it failed with. */
export function checkAbsentNode(url: string, why: string): Finding {
  return warn(
    'node',
    `no node runs: ${why}`,
    `Start it: systemctl start litefs-lite. Another address than ${url}: http.addr`,
  );
}

/** `dir`: our mount point, by the config. Another node has the port that ours is to have. */
export function checkForeignNode(url: string, dir: string, { path, pid }: NodeReport): Finding {
  return fail(
    'node',
    `the node that answers at ${url} (process ${pid}) is not this one: it is mounted on ${path}, not on ${dir}`,
    'Give each node its own http.addr, or restart it if its config has changed.',
  );
}

export function checkNode(report: NodeReport, version: string): Finding[] {
  const what = `${report.hostname} runs as ${report.role}, version ${report.version}, process ${report.pid}`;
  const node =
    report.version === version
      ? ok('node', what)
      : warn(
          'node',
          `${what}; this program is version ${version}`,
          'When applications may pause: systemctl restart litefs-lite',
        );
  return [node, checkDatabases(report), ...checkReplicas(report), ...checkWarnings(report)];
}

function checkDatabases({ databases }: NodeReport): Finding {
  const bad = databases.filter(({ state }) => state !== 'ok');
  if (bad.length === 0) {
    return ok(
      'databases',
      databases.length === 0 ? 'none yet' : `${databases.length}, all of them ok`,
    );
  }
  const text = bad.map(
    ({ name, state, reason }) => `${name} is ${state}${reason ? `: ${reason}` : ''}`,
  );
  return bad.some(({ state }) => state === 'degraded')
    ? fail(
        'databases',
        text.join('\n'),
        'The reason says what is in the way; litefs-lite verify NAME looks at all pages.',
      )
    : warn('databases', text.join('\n'), 'Wait: litefs-lite status --watch');
}

function checkReplicas({ replicas, absent, isPrimary, version: ours }: NodeReport): Finding[] {
  const gone = absent.map(({ hostname, address }) =>
    warn('replicas', `${hostname} (${address}) has gone`, 'Look there: litefs-lite doctor'),
  );
  if (replicas.length + gone.length === 0) {
    return isPrimary ? [ok('replicas', 'none follows this node')] : [];
  }
  const here = replicas.map(({ hostname, address, behindMs, version }) => {
    const who = `${hostname} (${address})`;
    if (version !== '' && version !== ours) {
      return warn(
        'replicas',
        `${who} is version ${version}, this node ${ours}`,
        'Install the same release on both.',
      );
    }
    return behindMs > BEHIND_MS_MAX
      ? warn(
          'replicas',
          `${who} is ${Math.round(behindMs / 1000)} s behind`,
          'Look there: litefs-lite doctor',
        )
      : ok('replicas', `${who} follows this node`);
  });
  return [...here, ...gone];
}

/** What is not said elsewhere. */
function checkWarnings({ warnings, databases, upstream }: NodeReport): Finding[] {
  const said = new Set(databases.map(({ name, reason }) => `${name}: ${reason}`));
  const disconnected = upstream && whyDisconnected(upstream);
  if (disconnected) said.add(disconnected);
  return warnings
    .filter((text) => !said.has(text))
    .map((text) =>
      // As status has it: two primaries, or snapshots that cannot be written, put data in danger.
      fail(
        'warning',
        text,
        'docs/errors.md has what to do; the log has more: journalctl -u litefs-lite',
      ),
    );
}
