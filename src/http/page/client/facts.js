/**
 * What the page shows, worked out from /info: the nodes that this node knows of, where each database is on each of
 * them, and what is not as it should be, in plain words. Pure.
 *
 * @typedef {import('../../info.ts').NodeReport} NodeReport
 * @typedef {'good' | 'warn' | 'bad' | 'none'} Mood
 *
 * @typedef {object} PageNode
 * @property {string} id
 * @property {string} name its host's, with the address when two have the same
 * @property {string} role
 * @property {boolean} isSelf
 * @property {Mood} mood
 * @property {string} state
 * @property {string} address
 * @property {string | null} since when it came or went
 * @property {number | null} behindMs null: not known
 * @property {Record<string, string>} positions by database
 *
 * @typedef {object} Place where a database is on a node
 * @property {string | undefined} position
 * @property {Mood} mood
 * @property {string} text
 *
 * @typedef {object} Trouble
 * @property {'warn' | 'bad'} mood
 * @property {string} text
 */
import { ageText, clockText, countText, numberText } from './words.js';

/** What is behind for less is on its way. */
const BEHIND_MS = 2500;

/**
 * This node first.
 *
 * @param {NodeReport} info
 * @returns {PageNode[]}
 */
export function nodesOf(info) {
  const { upstream } = info;
  const positions = Object.fromEntries(info.databases.map((db) => [db.name, db.position]));
  /** @type {PageNode[]} */
  const nodes = [
    {
      id: info.nodeID,
      name: info.hostname,
      role: info.role,
      isSelf: true,
      ...ownState(info),
      address: info.path,
      since: null,
      behindMs: upstream ? upstream.lagMs : 0,
      positions,
    },
  ];
  if (upstream) {
    const name = upstream.hostname ?? upstream.address;
    nodes.push({
      id: 'upstream',
      name,
      role: name === info.primary.hostname ? 'primary' : upstream.hostname ? 'replica' : 'unknown',
      isSelf: false,
      mood: upstream.connected ? 'good' : 'bad',
      state: upstream.connected
        ? 'connected'
        : upstream.refused
          ? 'refuses this node'
          : 'not connected',
      address: upstream.address,
      since: upstream.since,
      behindMs: name === info.primary.hostname ? 0 : null,
      positions: upstream.positions,
    });
  }
  for (const { nodeId, hostname, address, connectedAt, behindMs, positions } of info.replicas) {
    const isBehind = behindMs > BEHIND_MS;
    nodes.push({
      id: nodeId,
      name: hostname,
      role: 'replica',
      isSelf: false,
      mood: isBehind ? 'warn' : 'good',
      state: isBehind ? 'behind' : 'connected',
      address,
      since: connectedAt,
      behindMs,
      positions,
    });
  }
  for (const { nodeId, hostname, address, goneAt, behindMs, positions } of info.absent) {
    const about = { role: 'replica', isSelf: false, mood: /** @type {Mood} */ ('bad') };
    const rest = { state: 'not connected', address, since: goneAt, behindMs, positions };
    nodes.push({ id: nodeId, name: hostname, ...about, ...rest });
  }
  return withNames(nodes);
}

/**
 * @param {NodeReport} info
 * @returns {{ mood: Mood, state: string }}
 */
function ownState({ upstream, databases }) {
  if (databases.some(({ state }) => state === 'degraded'))
    return { mood: 'bad', state: 'degraded' };
  if (!upstream) return { mood: 'good', state: 'running' };
  if (!upstream.connected) return { mood: 'bad', state: 'not connected' };
  if (!upstream.inSync) return { mood: 'warn', state: 'catching up' };
  if (upstream.troubles.length > 0) return { mood: 'warn', state: 'partly stale' };
  const isBehind = (upstream.lagMs ?? 0) > BEHIND_MS;
  return isBehind ? { mood: 'warn', state: 'behind' } : { mood: 'good', state: 'in sync' };
}

/**
 * Hosts may have one name: then the address tells them apart.
 *
 * @param {PageNode[]} nodes
 */
function withNames(nodes) {
  const count = (/** @type {string} */ name) => nodes.filter((node) => node.name === name).length;
  return nodes.map((node) =>
    node.isSelf || count(node.name) === 1
      ? node
      : { ...node, name: `${node.name} (${node.address})` },
  );
}

/**
 * The position that all should have: the primary's, as far as this node knows.
 *
 * @param {NodeReport} info
 * @param {string} database
 */
function referenceOf(info, database) {
  const ours = info.databases.find(({ name }) => name === database)?.position;
  const theirs = info.upstream ? positionIn(info.upstream.positions, database) : undefined;
  return txidOf(theirs) > txidOf(ours) ? theirs : ours;
}

/**
 * @param {NodeReport} info
 * @param {PageNode} node
 * @param {string} database
 * @returns {Place}
 */
export function placeOf(info, node, database) {
  const position = positionIn(node.positions, database);
  if (position === undefined) return { position, mood: 'none', text: 'not there' };
  const isStale = info.upstream?.troubles.some(({ name }) => name === database);
  if (isStale && node.id !== 'upstream') return { position, mood: 'warn', text: 'not replicated' };
  const reference = referenceOf(info, database);
  const missing = txidOf(reference) - txidOf(position);
  // What another node has is heard a moment later than what this one has.
  if (missing > 0 && node.id === 'upstream') return { position, mood: 'none', text: 'last heard' };
  if (missing > 0) {
    const mood = (node.behindMs ?? Infinity) > BEHIND_MS ? 'warn' : 'none';
    return { position, mood, text: `${numberText(missing)} behind` };
  }
  if (missing === 0 && position !== reference) return { position, mood: 'bad', text: 'differs' };
  return { position, mood: 'good', text: 'up to date' };
}

/**
 * All databases that some node has, in the order of their names.
 *
 * @param {NodeReport} info
 */
export function databaseNames(info) {
  const names = new Set(info.databases.map(({ name }) => name));
  for (const name of Object.keys(info.upstream?.positions ?? {})) names.add(name);
  return [...names].sort();
}

/**
 * A database may be called `constructor` or `__proto__`, and every object has something by that name.
 *
 * @param {Record<string, string>} positions
 * @param {string} database
 * @returns {string | undefined}
 */
function positionIn(positions, database) {
  return Object.hasOwn(positions, database) ? positions[database] : undefined;
}

/** @param {string | undefined} position */
export function txidOf(position) {
  return position === undefined ? 0 : Number.parseInt(position.slice(0, 16), 16);
}

/**
 * What is not as it should be, the worst first. Each begins with who it is about.
 *
 * @param {NodeReport} info
 * @param {number} nowMs the node's clock
 * @returns {Trouble[]}
 */
export function troublesOf(info, nowMs) {
  const nodes = nodesOf(info);
  const own = info.upstream ? ownTroubles(info, nowMs) : [];
  const others = nodes
    .filter(({ isSelf, id }) => !isSelf && id !== 'upstream')
    .flatMap((node) => nodeTrouble(info, node, nowMs));
  const differing = nodes.flatMap((node) =>
    databaseNames(info)
      .filter((name) => placeOf(info, node, name).text === 'differs')
      .map((name) => ({
        mood: /** @type {const} */ ('bad'),
        text: `${node.name} has another content of ${name} than the primary, at the same transaction.`,
      })),
  );
  const told = info.warnings
    .filter((text) => !own.some(({ about }) => about !== undefined && text.includes(about)))
    .map((text) => ({ mood: /** @type {const} */ ('bad'), text }));
  const all = [...own, ...differing, ...told, ...others];
  return [...all.filter(({ mood }) => mood === 'bad'), ...all.filter(({ mood }) => mood !== 'bad')];
}

/**
 * Of a replica: about itself and the node that it follows. `about`: what the node's own warning of the same is known by.
 *
 * @param {NodeReport} info
 * @param {number} nowMs
 * @returns {(Trouble & { about?: string })[]}
 */
function ownTroubles({ hostname, upstream }, nowMs) {
  if (!upstream) return [];
  const { connected, refused, inSync, lagMs, address, error, since } = upstream;
  const them = upstream.hostname ? `${upstream.hostname} (${address})` : address;
  if (!connected) {
    const behind = lagMs === null ? 'has never had everything' : `is ${ageText(lagMs)} behind`;
    const why = error ? `: ${error}` : '';
    const text = refused
      ? `${hostname} ${behind}: ${them} refuses it${why}`
      : `${hostname} ${behind}: not connected to ${them} since ${clockText(since, nowMs)}${why}`;
    return [{ mood: 'bad', text, about: address }];
  }
  if (!inSync) return [{ mood: 'warn', text: `${hostname} is catching up with ${them}.` }];
  if ((lagMs ?? 0) <= BEHIND_MS) return [];
  return [
    {
      mood: 'warn',
      text: `${hostname} is ${ageText(lagMs ?? 0)} behind: connected to ${them}, and at work.`,
    },
  ];
}

/**
 * Of a node that follows this one.
 *
 * @param {NodeReport} info
 * @param {PageNode} node
 * @param {number} nowMs
 * @returns {Trouble[]}
 */
function nodeTrouble(info, node, nowMs) {
  const behindMs = node.behindMs ?? 0;
  const missing = databaseNames(info).reduce((sum, name) => {
    const position = positionIn(node.positions, name);
    if (position === undefined) return sum;
    return sum + Math.max(0, txidOf(referenceOf(info, name)) - txidOf(position));
  }, 0);
  const lacks = missing > 0 ? ` It lacks ${countText(missing, 'transaction')}.` : '';
  if (node.mood === 'bad') {
    const since = clockText(node.since ?? '', nowMs);
    return behindMs > 0
      ? [
          {
            mood: 'bad',
            text: `${node.name} is ${ageText(behindMs)} behind: not connected since ${since}.${lacks}`,
          },
        ]
      : [
          {
            mood: 'warn',
            text: `${node.name} is not connected since ${since}. It has all that was committed.`,
          },
        ];
  }
  if (behindMs <= BEHIND_MS) return [];
  return [
    {
      mood: 'warn',
      text: `${node.name} is ${ageText(behindMs)} behind, though connected.${lacks}`,
    },
  ];
}
