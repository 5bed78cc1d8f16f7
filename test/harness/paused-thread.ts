/**
 * Stops one thread of a node, as a machine that is overloaded does for a moment: the others go on. So a test can do
 * something while the engine has not looked yet, each time and not one time in ten.
 */
import fs from 'node:fs';
import { checked } from '../../src/os/libc.ts';
import { BYTES, bind } from '../../src/os/native.ts';
import { type TestNode, until } from './cluster.ts';

const PTRACE_DETACH = 17;
const PTRACE_SEIZE = 0x4206;
const PTRACE_INTERRUPT = 0x4207;
/** What is held back waits so long at most. */
const STANDS_MS_MAX = 5000;
const LOOK_MS = 20;
/** Also for threads that are not ours, without waiting. */
const WALL_NOHANG = 0x40000001;

const ptrace = bind('ptrace', ['long', 'int', 'long', 'long'], 'long');
const waitpid = bind('waitpid', ['int', BYTES, 'int']);

/** Stops a thread of a node, by name; resolves when it stands. The returned function lets it go on; again does nothing. */
export async function pauseThread(node: TestNode, name: 'engine' | 'mount'): Promise<() => void> {
  const { pid } = node;
  const tid = threadOf(pid, name);
  checked('ptrace', ptrace(PTRACE_SEIZE, tid, 0, 0));
  checked('ptrace', ptrace(PTRACE_INTERRUPT, tid, 0, 0));
  try {
    await until(
      () => `the thread ${name} stands; all wait here:\n${stacksOf(pid)}`,
      () => waitpid(tid, Buffer.alloc(4), WALL_NOHANG) === tid,
    );
  } catch (error) {
    letGo(tid);
    throw error;
  }
  let stands = true;
  return () => {
    // It refuses when the node was killed meanwhile.
    if (stands && ptrace(PTRACE_DETACH, tid, 0, 0) !== 0) letGo(tid);
    stands = false;
  };
}

/**
 * Lets a thread go on as soon as it stands. When it ends before that, we must be told of it: until then its process has not
 * ended either.
 */
function letGo(tid: number): void {
  const timer = setInterval(() => {
    const found = waitpid(tid, Buffer.alloc(4), WALL_NOHANG);
    if (found === tid) ptrace(PTRACE_DETACH, tid, 0, 0);
    if (found !== 0) clearInterval(timer);
  }, LOOK_MS);
  timer.unref();
}

/** In which call of the kernel each thread of a process is. */
function stacksOf(pid: number): string {
  const dir = `/proc/${pid}/task`;
  const stacks: string[] = [];
  for (const tid of fs.readdirSync(dir)) {
    const [name, stack] = ['comm', 'stack'].map((file) => {
      return fs.readFileSync(`${dir}/${tid}/${file}`, 'latin1').trim();
    });
    stacks.push(`${name}:\n${stack}`);
  }
  return stacks.join('\n');
}

/**
 * Does something while the engine of a node stands. It goes on after `msMax` at the latest: what it holds back would
 * otherwise never end.
 */
export async function whileEngineStands<T>(
  node: TestNode,
  action: () => Promise<T>,
  msMax = STANDS_MS_MAX,
): Promise<T> {
  const resume = await pauseThread(node, 'engine');
  const timer = setTimeout(resume, msMax);
  try {
    return await action();
  } finally {
    clearTimeout(timer);
    resume();
  }
}

function threadOf(pid: number, name: string): number {
  for (const tid of fs.readdirSync(`/proc/${pid}/task`)) {
    const comm = fs.readFileSync(`/proc/${pid}/task/${tid}/comm`, 'latin1').trim();
    if (comm === name) return Number(tid);
  }
  throw new Error(`process ${pid} has no thread ${name}`);
}
