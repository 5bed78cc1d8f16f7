/**
 * A primary and a replica, each with its data on a disk of its own that remembers (disks.ts), and an application. What
 * happens to them is up to the caller; afterwards there is a Life, which can be cut off at any moment.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import Sqlite from 'better-sqlite3';
import { SYNC_FILE_RANGE_WRITE, syncFileRange } from '../../../src/os/libc.ts';
import { unmount } from '../../../src/os/mounts.ts';
import { freePorts, inSync, TestNode, until } from '../cluster.ts';
import { underLock } from '../halt.ts';
import { SeededRandom } from '../random.ts';
import type { BankSettings } from './app.ts';
import { AppRun, appCommand } from './app-run.ts';
import { readNotes } from './block-log.ts';
import { LoggedDisks, run } from './disks.ts';
import { History } from './history.ts';
import { type Life, type LifeNote, type LifeSettings, type NodeRole, ROLES } from './life.ts';

const WRITE_BACK = path.resolve(import.meta.dirname, 'write-back.ts');
/** Between two transactions of the application. */
const PAUSE_MS_MAX = 6;
/** Each thread is stopped, waits in the kernel, or has just ended; or the first does, which does all that an application does. */
const STILL = /^[TDZX]*$/;
const APP_STILL = /^[TDZX]/;

export class Stage {
  readonly nodes: Record<NodeRole, TestNode>;
  readonly #dir: string;
  readonly #settings: LifeSettings;
  readonly #random: SeededRandom;
  readonly #disks: LoggedDisks;
  readonly #history = new History();
  readonly #survivors: string[] = [];
  #writeBack: ChildProcess | undefined;
  #app: AppRun | undefined;
  #epoch: number;

  /** `dir`: an empty folder for all of it. */
  static async open(dir: string, settings: LifeSettings): Promise<Stage> {
    const points = ROLES.map((role) => path.join(dir, role));
    const disks = await LoggedDisks.start(
      path.join(dir, 'disks'),
      points,
      settings.mountOptions,
      settings.begin,
    );
    try {
      return new Stage(dir, settings, disks, await freePorts(4));
    } catch (error) {
      disks.close();
      throw error;
    }
  }

  private constructor(
    dir: string,
    settings: LifeSettings,
    disks: LoggedDisks,
    ports: readonly number[],
  ) {
    this.#dir = dir;
    this.#settings = settings;
    this.#disks = disks;
    this.#random = new SeededRandom(settings.seed);
    // Another than of the life that this one may go on from.
    this.#epoch = this.#random.below(1000) * 1000;
    const { passthrough, config } = settings;
    const node = (role: NodeRole, own: [number, number]) =>
      new TestNode(role, path.join(dir, role), own, {
        candidate: role === 'primary',
        passthrough,
        primaryPort: ports[1],
        config,
      });
    this.nodes = {
      primary: node('primary', [ports[0], ports[1]]),
      replica: node('replica', [ports[2], ports[3]]),
    };
  }

  async start(role: NodeRole): Promise<void> {
    const node = this.nodes[role];
    this.tell(`starting the ${role}`);
    await node.start();
    this.tell(`started the ${role}`);
    this.#history.follow(node);
    for (const { name, position } of (await node.info()).databases) {
      this.#history.addPosition(name, position);
    }
  }

  /** The primary starts while its replica runs. */
  async startUnderReplica(): Promise<void> {
    const { replica } = this.nodes;
    const from = replica.log.length;
    await this.start('primary');
    await replica.logged(/^connected to/, from);
  }

  /** SIGTERM. Throws when the node does not end with 0. */
  async stop(role: NodeRole): Promise<void> {
    this.tell(`stopping the ${role}`);
    const status = await this.nodes[role].stop();
    if (status !== 0) throw new Error(`the ${role} ended with ${status}`);
    this.tell(`stopped the ${role}`);
  }

  async kill(role: NodeRole): Promise<void> {
    this.tell(`killing the ${role}`);
    await this.nodes[role].kill();
  }

  /** The application goes on, or begins again, until it has made so many commits; it does not stop then. */
  async write(commits: number): Promise<void> {
    if (!this.#app?.isRunning) this.#app = this.#begin({ drops: true });
    await this.#app.makes(commits);
  }

  /** An application that does so many things, and closes its databases. */
  async writeAndClose(transactions: number): Promise<void> {
    this.#app = this.#begin({ transactions });
    const status = await this.#app.status;
    if (status !== 0) throw new Error(`the application ended with ${status}: ${this.#app.errors}`);
  }

  /** Gives the databases free pages: for a while they change and do not grow. */
  leaveRoom(): void {
    for (const { name } of this.#settings.banks) {
      const db = new Sqlite(this.nodes.primary.file(name));
      db.exec('CREATE TABLE room(x); INSERT INTO room VALUES(zeroblob(400000)); DROP TABLE room');
      db.close();
    }
  }

  #begin(more: { drops?: boolean; transactions?: number }): AppRun {
    return new AppRun({
      dir: this.nodes.primary.mount,
      banks: this.#settings.banks,
      seed: this.#random.below(0x7fffffff),
      epoch: ++this.#epoch,
      notes: this.#disks.notes,
      pauseMsMax: PAUSE_MS_MAX,
      ...more,
    });
  }

  async endApp(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    await this.#app?.end(signal);
  }

  /** The replica has all that the primary has. */
  async inSync(): Promise<void> {
    const { primary, replica } = this.nodes;
    for (const { name } of this.#settings.banks) await inSync(primary, replica, name);
  }

  /** The logs of a node begin in the middle of the histories, as those of old databases do: it has a short retention. */
  async logsBeginLater(role: NodeRole = 'replica'): Promise<void> {
    await until('logs begin later', async () => {
      const { databases } = await this.nodes[role].info();
      return databases.every(({ log }) => Number.parseInt(log.firstTxid, 16) > 1);
    });
  }

  /** An application of the replica writes, under the halt lock. */
  async borrow(bank: BankSettings): Promise<void> {
    const { replica } = this.nodes;
    if (!fs.existsSync(replica.file(bank.name))) return;
    this.tell(`borrowing ${bank.name}`);
    const command = appCommand({
      dir: replica.mount,
      banks: [bank],
      seed: this.#random.below(0x7fffffff),
      epoch: ++this.#epoch,
      transactions: 1 + this.#random.below(4),
      pauseMsMax: 0,
    });
    const { status, stderr } = await underLock(replica, bank.name, command);
    this.tell(`borrowed ${bank.name}: ${status} ${stderr.slice(0, 500)}`);
  }

  /** Both nodes as they are in memory, at one moment. */
  async copySurvivors(): Promise<void> {
    const { primary, replica } = this.nodes;
    const nodes = [primary.pid, replica.pid];
    const apps = this.#app?.isRunning ? [this.#app.pid] : [];
    const pids = [...apps, ...nodes];
    const folder = path.join(this.#dir, `survivors-${this.#survivors.length}`);
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    try {
      await until(
        () => `all stand still: ${pids.map(threadStates).join(' ')}`,
        () =>
          nodes.every((pid) => STILL.test(threadStates(pid))) &&
          apps.every((pid) => APP_STILL.test(threadStates(pid))),
      );
      for (const role of ROLES) {
        const from = path.join(this.#dir, role, 'data');
        const to = path.join(folder, role, 'data');
        fs.cpSync(from, to, { recursive: true, preserveTimestamps: true });
      }
      this.#note({ kind: 'survivors', n: this.#survivors.length });
      this.#survivors.push(folder);
    } finally {
      for (const pid of pids) process.kill(pid, 'SIGCONT');
    }
  }

  tell(what: string): void {
    this.#note({ kind: 'event', what });
  }

  #note(note: LifeNote): void {
    this.#disks.note(note);
  }

  /** How many records there are by now. */
  get records(): number {
    return this.#disks.records().length;
  }

  /** From now on the kernel writes back what it likes (write-back.ts). */
  beginWritingBack(): void {
    const dirs = ROLES.map((role) => path.join(this.#dir, role));
    this.#writeBack = spawn(process.execPath, [WRITE_BACK, `${this.#settings.seed}`, ...dirs], {
      stdio: ['pipe', 'inherit', 'inherit'],
    });
  }

  /** The kernel writes back a file of a node's tree, and flushes nothing. */
  writeBack(role: NodeRole, file: string): void {
    const fd = fs.openSync(this.nodes[role].backing(file), 'r');
    syncFileRange(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    fs.closeSync(fd);
  }

  /** Another program has a file of its own made durable: names, sizes and times of all others are with it. */
  flushAnother(role: NodeRole): void {
    fs.writeFileSync(path.join(this.#dir, role, 'another'), 'x', { flush: true, flag: 'a' });
  }

  /** All that was written is made durable. */
  flushAll(role: NodeRole): void {
    run('sync', '--file-system', path.join(this.#dir, role));
  }

  /** Ends all of it. May be called again. */
  async close(): Promise<void> {
    await this.endApp('SIGKILL');
    await Promise.all(ROLES.map((role) => this.nodes[role].kill()));
    for (const role of ROLES) unmount(this.nodes[role].mount, { detach: true });
    this.#writeBack?.stdin?.end();
    if (this.#writeBack?.exitCode === null) await once(this.#writeBack, 'exit');
    this.#disks.close();
  }

  /** What is left of it. */
  life(): Life {
    const { log } = this.#disks;
    const records = this.#disks.records();
    const notes = readNotes(log, records).map(({ at, text }) => ({
      at,
      note: JSON.parse(text) as LifeNote,
    }));
    const [settings, history, survivors] = [this.#settings, this.#history, this.#survivors];
    return { settings, log, records, notes, history, survivors };
  }
}

/** The states of a process's threads, a letter each, as proc(5) has them. */
function threadStates(pid: number): string {
  const letters = fs.readdirSync(`/proc/${pid}/task`).map((thread) => {
    const stat = fs.readFileSync(`/proc/${pid}/task/${thread}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2)[0];
  });
  return letters.join('');
}
