/** One machine of a lab (lab.ts): power, cable, and commands in it. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';

const START_BOX = path.join(import.meta.dirname, 'start-box.sh');
const BOOT_MS_MAX = 60_000;
const COMMAND_MS_MAX = 120_000;
const POLL_MS = 50;
/** What a login has; no variable of this machine gets in. */
const ENVIRONMENT = {
  PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/root',
  LC_ALL: 'C.UTF-8',
  DEBIAN_FRONTEND: 'noninteractive',
};

export interface BoxParts {
  readonly name: string;
  /** Its tree of files. */
  readonly root: string;
  readonly address: string;
  /** Its cable, as the switch calls it. */
  readonly card: string;
  /** A process in the network namespace of the switch. */
  readonly networkPid: number;
}

export interface Ran {
  readonly status: number | null;
  /** Both of its outputs, in order. */
  readonly text: string;
}

export class Box {
  readonly name: string;
  readonly root: string;
  readonly address: string;
  readonly #parts: BoxParts;
  #power: ChildProcess | undefined;
  #init = 0;
  #console = '';

  constructor(parts: BoxParts) {
    this.name = parts.name;
    this.root = parts.root;
    this.address = parts.address;
    this.#parts = parts;
  }

  /** Boots; resolves when systemd has started all that it is to start. Rejects with what the console showed. */
  async powerOn(): Promise<void> {
    const words = ['--pdeathsig', 'KILL', START_BOX, this.#group, this.root];
    const power = spawn('setpriv', words, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#power = power;
    this.#console = '';
    for (const stream of [power.stdout, power.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => (this.#console += text));
    }
    const until = performance.now() + BOOT_MS_MAX;
    this.#init = await this.#untilThere(until, () => this.#findInit());
    this.#plugIn();
    await this.#untilThere(until, () => {
      const { status, text } = this.#runSync('systemctl is-system-running');
      return status === 0 || text.startsWith('degraded');
    });
  }

  /** The power goes: nothing is flushed that only a process has, and all of its mounts are gone. */
  async powerOff(): Promise<void> {
    const power = this.#power;
    this.#power = undefined;
    if (!power || power.exitCode !== null || power.signalCode !== null) return;
    const gone = once(power, 'close');
    // With its PID 1 each process of the box ends.
    process.kill(this.#init || (power.pid ?? 0), 'SIGKILL');
    await gone;
  }

  /** Pulls its cable, or puts it in again. */
  setLink(state: 'up' | 'down'): void {
    this.#onSwitch(`ip link set ${this.#parts.card} ${state}`);
  }

  /** Runs a shell command in the box, as root or as another of its users. */
  async on(command: string, user = 'root'): Promise<Ran> {
    const child = spawn('nsenter', this.#words(command, user), {
      env: ENVIRONMENT,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: COMMAND_MS_MAX,
      killSignal: 'SIGKILL',
    });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    }
    const [status] = (await once(child, 'close')) as [number | null];
    return { status, text: text.trimEnd() };
  }

  /** The same of one that must succeed; resolves with what it printed. */
  async ok(command: string, user = 'root'): Promise<string> {
    const { status, text } = await this.on(command, user);
    if (status === 0) return text;
    throw new Error(`on ${this.name}, "${command}" ended with ${status ?? 'a time-out'}:\n${text}`);
  }

  /** Of a box that is off: removes what it has left on the machine. */
  clear(): void {
    for (const kind of ['systemd', 'unified']) {
      const group = `/sys/fs/cgroup/${kind}/${this.#group}`;
      if (!fs.existsSync(group)) continue;
      const below = fs.readdirSync(group, { recursive: true, encoding: 'utf8' });
      const groups = below.filter((name) => fs.statSync(path.join(group, name)).isDirectory());
      for (const name of groups.reverse()) fs.rmdirSync(path.join(group, name));
      fs.rmdirSync(group);
    }
    // The bare mount point is immutable.
    execFileSync('chattr', ['-R', '-f', '-i', path.join(this.root, 'litefs')], { stdio: 'ignore' });
  }

  get #group(): string {
    return `litefs-lite-${process.pid}-${this.name}`;
  }

  #findInit(): number | undefined {
    const pid = this.#power?.pid;
    const [child] = textOf(`/proc/${pid}/task/${pid}/children`).split(' ');
    const isThere = textOf(`/proc/${child}/comm`) === 'systemd\n';
    return isThere ? Number(child) : undefined;
  }

  #plugIn(): void {
    const { card, address } = this.#parts;
    this.#onSwitch(
      `ip link add ${card} type veth peer name eth0 address ${cardAddress(address)} netns ${this.#init} && ip link set ${card} master switch0 up`,
    );
    const inside = `ip link set lo up; ip addr add ${address}/24 dev eth0; ip link set eth0 up`;
    execFileSync('nsenter', ['-t', `${this.#init}`, '-n', 'sh', '-ec', inside]);
  }

  #onSwitch(command: string): void {
    execFileSync('nsenter', ['-t', `${this.#parts.networkPid}`, '-n', 'sh', '-ec', command]);
  }

  #words(command: string, user: string): string[] {
    const shell =
      user === 'root'
        ? ['bash', '-c', command]
        : ['setpriv', `--reuid=${user}`, `--regid=${user}`, '--init-groups', 'bash', '-c', command];
    return ['-t', `${this.#init}`, '-u', '-i', '-n', '-m', '-p', 'chroot', this.root, ...shell];
  }

  #runSync(command: string): Ran {
    try {
      const stdio = ['ignore', 'pipe', 'ignore'] as const;
      const words = this.#words(command, 'root');
      const text = execFileSync('nsenter', words, { env: ENVIRONMENT, stdio: [...stdio] });
      return { status: 0, text: `${text}` };
    } catch (error) {
      const { status, stdout } = error as { status: number | null; stdout: Buffer };
      return { status, text: `${stdout}` };
    }
  }

  async #untilThere<T>(untilMs: number, look: () => T | undefined | false): Promise<T> {
    for (;;) {
      const found = look();
      if (found) return found;
      const power = this.#power;
      if (!power || power.exitCode !== null || performance.now() > untilMs) {
        throw new Error(`${this.name} does not boot:\n${this.#console}`);
      }
      await setTimeout(POLL_MS);
    }
  }
}

/** The same at each start, as that of a real card: what other machines remember of it stays true. */
function cardAddress(address: string): string {
  const last = Number(address.split('.').at(-1)).toString(16).padStart(2, '0');
  return `02:00:0a:4d:00:${last}`;
}

function textOf(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
