/** How a replica gets on with its primary. */
import { LiteFsError } from '../../errors.ts';
import { type UpstreamReport, whyDisconnected } from '../../http/info.ts';
import { judgePeer, type PeerFacts } from '../../lease/judge.ts';
import type { Greeting } from '../../replication/greet.ts';
import { type Finding, fail, ok, warn } from './finding.ts';

/** Beyond what a heartbeat on a slow network, or the full seconds of a Date header, explain. */
const SKEW_MS_MAX = 5000;

const FIREWALL =
  'Is it up, is replication.addr there ":20204", and does its firewall let us through?';
const PORT =
  'Is it the port of replication.addr there, 20204 unless changed? replication.primary says another.';
const TOKEN = 'On the primary: litefs-lite token. Here: litefs-lite init --token - --force';

/** `outcome`: what the primary said, or why it said nothing. `ours`: as in node.json; undefined before the first start. */
export function checkPrimary(
  where: string,
  outcome: Greeting | LiteFsError,
  ours: PeerFacts | undefined,
): Finding[] {
  if (outcome instanceof LiteFsError) {
    const hint = outcome.hint ?? (outcome.code === 'PROTOCOL' ? PORT : FIREWALL);
    return [fail('primary', outcome.message, hint)];
  }
  const { server, refusal } = outcome;
  const reached = ok('primary', `${server?.hostname ?? 'a node'} answers at ${where}`);
  if (refusal?.code === 'wrong-secret') return [reached, fail('secret', refusal.text, TOKEN)];
  if (refusal) return [reached, checkRefusal(refusal)];
  const accepted = ok('secret', 'accepted by both sides');
  const found = [reached, accepted];
  const verdict = server && ours && judgePeer(server, ours);
  if (server && server.role !== 'primary' && verdict?.code !== 'itself') {
    found.push(
      warn(
        'lease',
        `${server.hostname} is a replica itself`,
        'That works, one step further behind. lease.advertise-url names the primary.',
      ),
    );
  }
  if (verdict) found.push(fail('cluster', verdict.text, HINTS[verdict.code] ?? OPERATIONS));
  return found;
}

const OPERATIONS = 'docs/operations.md, "Replacing the primary", has the order of steps.';
const HINTS: Readonly<Record<string, string>> = {
  itself: 'Write the primary there, and: systemctl restart litefs-lite',
  'same-node': 'Stop this node, remove node.json in its data.dir, start it.',
  'other-cluster': 'Stop this node, move its data.dir away, start it: it gets everything anew.',
  version: 'Install the same release on both.',
  'not-yet': 'Wait until it has caught up with its own primary.',
};

function checkRefusal({ code, text }: { code: string; text: string }): Finding {
  const hint = HINTS[code] ?? OPERATIONS;
  return code === 'not-yet' ? warn('cluster', text, hint) : fail('cluster', text, hint);
}

/** What the running node says of its primary, which lets in whoever has the config that we have just read. */
export function checkUpstream(upstream: UpstreamReport): Finding[] {
  const why = whyDisconnected(upstream);
  if (why === undefined) return [];
  const text = `the running node itself is ${why}`;
  return [
    upstream.refused
      ? fail(
          'follows',
          text,
          'It runs with an older config or secret: systemctl restart litefs-lite',
        )
      : warn(
          'follows',
          text,
          'It tries again by itself. If that stays: systemctl restart litefs-lite',
        ),
  ];
}

/** `aheadMs`: the primary's clock less ours; undefined when it is not known. */
export function checkClock(aheadMs: number | undefined): Finding {
  if (aheadMs === undefined) {
    return ok(
      'clock',
      'not compared: no heartbeat has come from the primary yet, and its API is not open to the network',
    );
  }
  const seconds = Math.round(Math.abs(aheadMs) / 1000);
  if (Math.abs(aheadMs) <= SKEW_MS_MAX) return ok('clock', 'the same as on the primary');
  const text = `the primary's clock is ${seconds} s ${aheadMs > 0 ? 'ahead of' : 'behind'} this one`;
  return warn(
    'clock',
    `${text}: times of transactions and of restores are the primary's`,
    'On both: timedatectl set-ntp true',
  );
}

/** The primary's clock less ours, by its answer to a request. The header has whole seconds: their middle counts. */
export function clockAhead(
  date: string | null,
  sentMs: number,
  receivedMs: number,
): number | undefined {
  const theirs = Date.parse(date ?? '');
  return Number.isNaN(theirs) ? undefined : theirs + 500 - (sentMs + receivedMs) / 2;
}

/** `theirs`: undefined when the primary does not say it. */
export function checkVersion(ours: string, theirs: string | undefined): Finding {
  if (theirs === undefined) {
    return ok(
      'version',
      `${ours} here; the primary does not say which it is, but the protocol is the same`,
    );
  }
  if (ours === theirs) return ok('version', `${ours} on both`);
  return warn(
    'version',
    `${ours} here, ${theirs} on the primary`,
    'Install the same release on both.',
  );
}
