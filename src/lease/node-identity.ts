/**
 * Who this node is: node.json below data.dir, made at the first start.
 *
 *     {"nodeId": 16 hex digits, "clusterId": "" or 16 hex digits, "term": 0 … 2^53, "role": "primary" or "replica"}
 *
 * A primary draws the cluster's id at its first start and begins with term 1; a replica takes both from its
 * primary. They bind a node once it has databases (membership.ts). The term goes up when the role moves to another node:
 * of two primaries the one with the lower term is the old one. The role is the one in which the node last served: it
 * tells whose the databases were.
 */
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { errorText, LiteFsError } from '../errors.ts';
import { syncDirectory } from '../store/log-files.ts';
import { type Holding, type Membership, membershipAtStart, type Role } from './membership.ts';

export type { Role } from './membership.ts';

interface NodeFile extends Membership {
  readonly nodeId: string;
  /** Absent in a file of before 0.1.0. */
  readonly role: Role | undefined;
}

export interface NodeFacts {
  readonly role: Role;
  readonly hostname: string;
  readonly advertiseUrl: string | undefined;
  /** What its data directory holds at this start. */
  readonly holding: Holding;
}

export class NodeIdentity {
  readonly nodeId: string;
  readonly role: Role;
  /** In which it last served: what was committed here since then is its own, or its primary's. */
  readonly formerRole: Role;
  readonly hostname: string;
  readonly advertiseUrl: string | undefined;
  readonly #file: string;
  #isBound: boolean;
  /** As it is on disk. */
  #content: NodeFile;

  /**
   * Reads the file, or makes it. Throws DATA_DIR when it makes no sense, DISK when it cannot be written.
   */
  static load(file: string, facts: NodeFacts): NodeIdentity {
    const stored = readNodeFile(file) ?? {
      nodeId: randomId(),
      clusterId: '',
      term: 0,
      role: undefined,
    };
    const content = { ...stored, ...membershipAtStart(stored, facts, randomId) };
    const identity = new NodeIdentity(file, content, facts);
    identity.#save(identity.#content);
    return identity;
  }

  private constructor(file: string, content: NodeFile, facts: NodeFacts) {
    this.#file = file;
    this.#isBound = facts.holding !== 'nothing';
    this.nodeId = content.nodeId;
    this.role = facts.role;
    this.formerRole = content.role ?? facts.role;
    this.#content = { ...content, role: this.formerRole };
    this.hostname = facts.hostname;
    this.advertiseUrl = facts.advertiseUrl;
  }

  /** What it tells other nodes: 16 hex digits; '' on a replica without databases that has not met its primary. */
  get clusterId(): string {
    return this.#content.clusterId;
  }

  /** The cluster to which its databases bind it; '' as long as it has had none. */
  get boundTo(): string {
    return this.#isBound ? this.clusterId : '';
  }

  /** It has a database. Returns whether that is its first. */
  bind(): boolean {
    const isFirst = !this.#isBound;
    this.#isBound = true;
    return isFirst;
  }

  get term(): number {
    return this.#content.term;
  }

  /** A replica has met its primary: it belongs to that cluster from now on. Throws DISK; then nothing changed. */
  follow(clusterId: string, term: number): void {
    if (clusterId === this.clusterId && term === this.term) return;
    this.#save({ ...this.#content, clusterId, term });
  }

  /**
   * The databases are as they were in the former role: from now on they are served in the present one. Throws DISK.
   */
  recovered(): void {
    if (this.#content.role === this.role) return;
    this.#save({ ...this.#content, role: this.role });
  }

  #save(content: NodeFile): void {
    const temporary = `${this.#file}.tmp`;
    try {
      fs.writeFileSync(temporary, `${JSON.stringify(content)}\n`, { mode: 0o600, flush: true });
      fs.renameSync(temporary, this.#file);
      syncDirectory(path.dirname(this.#file));
    } catch (error) {
      throw new LiteFsError('DISK', `cannot write ${this.#file}: ${errorText(error)}`, {
        hint: 'Free space on the disk of data.dir, or see why it cannot be written.',
        cause: error,
      });
    }
    this.#content = content;
  }
}

function randomId(): string {
  return randomBytes(8).toString('hex');
}

function readNodeFile(file: string): NodeFile | undefined {
  let text: string;
  try {
    text = fs.readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new LiteFsError('DATA_DIR', `cannot read ${file}: ${errorText(error)}`, { cause: error });
  }
  const content = parse(text);
  if (content) return content;
  throw new LiteFsError('DATA_DIR', `${file} does not say who this node is`, {
    hint: 'Restore it from a backup, or remove it: the node then joins as a new one.',
  });
}

function parse(text: string): NodeFile | undefined {
  try {
    const { nodeId, clusterId, term, role } = JSON.parse(text) as Record<string, unknown>;
    const isId = (value: unknown): value is string =>
      typeof value === 'string' && /^[0-9a-f]{16}$/.test(value);
    if (!isId(nodeId) || !(isId(clusterId) || clusterId === '')) return undefined;
    if (!Number.isSafeInteger(term) || (term as number) < 0) return undefined;
    if (role !== undefined && role !== 'primary' && role !== 'replica') return undefined;
    return { nodeId, clusterId, term: term as number, role };
  } catch {
    return undefined;
  }
}
