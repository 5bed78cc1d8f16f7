/** Whether two nodes may work together: decided from what each says of itself, before anything else. */
import type { Role } from './node-identity.ts';

/** What a node says of itself when it connects. */
export interface PeerFacts {
  readonly nodeId: string;
  /** '' when it belongs to none yet. */
  readonly clusterId: string;
  readonly term: number;
  readonly role: Role;
  readonly hostname: string;
  /** It has had no database. Known of ourselves only: HELLO does not say it. */
  readonly isEmpty?: boolean;
}

export type Refusal = 'itself' | 'same-node' | 'other-cluster' | 'two-primaries' | 'stale-term';

export interface Verdict {
  readonly code: Refusal;
  /** A whole sentence for a log. */
  readonly text: string;
}

/** undefined: they may. `me` is asked, `peer` asks to follow. */
export function judgePeer(me: PeerFacts, peer: PeerFacts): Verdict | undefined {
  if (me.nodeId === peer.nodeId) {
    // Who follows is a replica: the copy of a primary asks one, and that of a replica has its own machine's name.
    if (me.role === 'replica' && peer.role === 'replica' && me.hostname === peer.hostname) {
      return {
        code: 'itself',
        text:
          `${me.hostname} connects to itself: replication.primary, or else the host of ` +
          'lease.advertise-url, must name the primary',
      };
    }
    return {
      code: 'same-node',
      text:
        `${peer.hostname} has the same node id as ${me.hostname} (${me.nodeId}): its data directory is ` +
        'a copy; remove node.json there',
    };
  }
  // Two primaries are so whatever they belong to; of one without databases that is all there is to say.
  const isOffer = me.role === 'primary' && me.isEmpty === true;
  const isForeign = me.clusterId !== '' && peer.clusterId !== '' && me.clusterId !== peer.clusterId;
  if (isForeign && !(isOffer && peer.role === 'primary')) {
    return { code: 'other-cluster', text: isOffer ? emptyText(me, peer) : foreignText(me, peer) };
  }
  if (me.role === 'primary' && peer.role === 'primary') {
    return {
      code: 'two-primaries',
      text:
        `${me.hostname} (term ${me.term}) and ${peer.hostname} (term ${peer.term}) both claim to be ` +
        'primary: set lease.candidate to false on one of them and restart it',
    };
  }
  if (peer.term > me.term) {
    return {
      code: 'stale-term',
      text:
        `${me.hostname} is at term ${me.term}, ${peer.hostname} has seen term ${peer.term}: ` +
        `another node has become primary since, and ${me.hostname} must not be followed`,
    };
  }
  return undefined;
}

function foreignText(me: PeerFacts, peer: PeerFacts): string {
  return (
    `${peer.hostname} belongs to cluster ${peer.clusterId}, ${me.hostname} to ${me.clusterId}: ` +
    'empty the data directory of the one that is to join the other'
  );
}

/** The one with the databases must not be told to remove them. */
function emptyText(me: PeerFacts, peer: PeerFacts): string {
  return (
    `${peer.hostname} belongs to cluster ${peer.clusterId}, and ${me.hostname} is a primary without databases: ` +
    `make ${peer.hostname} the primary if its databases are wanted, else empty its data directory`
  );
}
