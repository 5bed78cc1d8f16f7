/**
 * The engine's thread. It never returns to the event loop: it waits on a descriptor that whoever sends it a
 * message writes to, takes the messages, and lets the engine work until there is nothing to do.
 */
import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { gettid } from '../os/libc.ts';
import { drainEventFd, pollIn } from '../os/poll.ts';
import { toWire } from './client.ts';
import { Engine } from './engine.ts';
import type { EngineNews, EngineOptions, EngineRequest, MountMessage } from './protocol.ts';

export interface EngineWorkerData {
  readonly options: EngineOptions;
  readonly main: MessagePort;
  readonly mount: MessagePort;
}

const { options, main, mount } = workerData as EngineWorkerData;

/** Often enough that main takes the recovery for alive. */
const PROGRESS_MS = 1000;
let progressMs = Number.NEGATIVE_INFINITY;

function post(news: EngineNews, transfer: ArrayBuffer[] = []): void {
  if (news.kind === 'recovering') {
    const nowMs = performance.now();
    if (nowMs - progressMs < PROGRESS_MS) return;
    progressMs = nowMs;
  }
  main.postMessage(news, transfer);
}

function receive(engine: Engine): void {
  for (let next = receiveMessageOnPort(mount); next; next = receiveMessageOnPort(mount)) {
    engine.mountMessage(next.message as MountMessage);
  }
  for (let next = receiveMessageOnPort(main); next; next = receiveMessageOnPort(main)) {
    engine.request(next.message as EngineRequest);
  }
}

function run(engine: Engine): void {
  engine.shared.engineThread = gettid();
  engine.recover();
  while (!engine.isStopped) {
    drainEventFd(options.eventFd);
    receive(engine);
    const waitMs = engine.step();
    if (engine.isStopped || waitMs === 0) continue;
    pollIn([options.eventFd, ...engine.pollFds], waitMs ?? -1);
  }
}

let engine: Engine | undefined;
try {
  engine = new Engine(options, post);
  run(engine);
} catch (error) {
  post({ kind: 'fatal', error: toWire(error) });
} finally {
  engine?.leaveMount();
  main.close();
  mount.close();
}
