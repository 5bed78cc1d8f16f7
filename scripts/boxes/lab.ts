/**
 * Machines of a small LAN, on one: boxes with namespaces, a systemd as PID 1 and a network card each, at a switch of their
 * own that leads nowhere else. All of it ends with the process that made it, whichever way that ends.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Box } from './box.ts';
import { debianTree } from './debian.ts';

const SWITCH = 'switch0';

export class Lab {
  readonly dir: string;
  readonly boxes: readonly Box[];
  readonly #network: ChildProcess;

  private constructor(dir: string, network: ChildProcess, boxes: readonly Box[]) {
    this.dir = dir;
    this.#network = network;
    this.boxes = boxes;
  }

  /** Boxes that have booted: 10.77.0.1, 10.77.0.2, … Needs root. `cache`: where the tree of their files is kept. */
  static async open(names: readonly string[], cache: string): Promise<Lab> {
    const tree = debianTree(cache);
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-boxes-'));
    const network = await startNetwork();
    const hosts = names.map((name, at) => `10.77.0.${at + 1} ${name}`).join('\n');
    const boxes = names.map((name, at) => {
      const root = path.join(dir, name);
      execFileSync('cp', ['-a', '--reflink=auto', tree, root]);
      fs.writeFileSync(path.join(root, 'etc/hostname'), `${name}\n`);
      fs.writeFileSync(path.join(root, 'etc/hosts'), `127.0.0.1 localhost\n${hosts}\n`);
      const address = `10.77.0.${at + 1}`;
      return new Box({ name, root, address, card: `card${at + 1}`, networkPid: network.pid ?? 0 });
    });
    const lab = new Lab(dir, network, boxes);
    try {
      await Promise.all(boxes.map((box) => box.powerOn()));
    } catch (error) {
      await lab.close();
      throw error;
    }
    return lab;
  }

  async close(): Promise<void> {
    await Promise.all(this.boxes.map((box) => box.powerOff()));
    const gone = once(this.#network, 'close');
    this.#network.kill('SIGKILL');
    await gone;
    for (const box of this.boxes) box.clear();
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

/** A process that lasts, in a network namespace with a switch. */
async function startNetwork(): Promise<ChildProcess> {
  const make = `ip link add ${SWITCH} type bridge && ip link set ${SWITCH} up && ip link set lo up`;
  const script = `${make} && echo ready && exec sleep infinity`;
  const words = ['--pdeathsig', 'KILL', 'unshare', '--net', 'sh', '-c', script];
  const child = spawn('setpriv', words, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'close').then(() => {
    throw new Error('no network namespace can be made: is this root?');
  });
  await Promise.race([once(child.stdout, 'data'), ended]);
  ended.catch(() => {});
  return child;
}
