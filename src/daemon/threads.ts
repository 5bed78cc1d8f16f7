/** Starting the two worker threads and wiring them: main ↔ engine, mount → engine. */
import { constants } from 'node:fs';
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';
import { EngineClient, fromWire } from '../engine/client.ts';
import type { EngineNews, EngineOptions } from '../engine/protocol.ts';
import type { EngineWorkerData } from '../engine/worker.ts';
import { LiteFsError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { SharedState } from '../mount/shared-state.ts';
import type { MountNews, MountWorkerData } from '../mount/worker.ts';
import { O_PATH } from '../os/beneath.ts';
import { createEventFd, signalEventFd } from '../os/poll.ts';
import { openBelow } from '../store/tree-door-async.ts';
import { LookUps } from './look-ups.ts';
import { startWorker } from './worker.ts';

export interface EngineThread {
  readonly client: EngineClient;
  readonly shared: SharedState;
  readonly eventFd: number;
  /** For the mount's thread: what it posts there reaches the engine. */
  readonly mountPort: import('node:worker_threads').MessagePort;
  /** Resolves when every database is in a known state. Rejects when that fails. */
  readonly recovered: Promise<void>;
  /** Resolves with the reason when the thread dies though nobody stopped it. */
  readonly died: Promise<Error>;
  /** Resolves when the thread has ended. */
  readonly ended: Promise<void>;
}

const NEW = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL;

/** Starts the engine. `recovering` is called now and then, with what it is at, until it has recovered all databases. */
export function startEngine(
  options: Omit<EngineOptions, 'eventFd' | 'shared'>,
  spoolDir: string,
  log: Logger,
  recovering: (database: string) => void,
): EngineThread {
  const shared = new SharedState();
  shared.role = options.role;
  const eventFd = createEventFd();
  const main = new MessageChannel();
  const mount = new MessageChannel();
  const client = new EngineClient(
    { port: main.port1, wake: () => signalEventFd(eventFd) },
    spoolDir,
  );
  const workerData: EngineWorkerData = {
    options: { ...options, eventFd, shared: shared.buffer },
    main: main.port2,
    mount: mount.port2,
  };
  const worker = startWorker('engine', {
    workerData,
    transferList: [main.port2, mount.port2],
  });
  const recovered = Promise.withResolvers<void>();
  const died = Promise.withResolvers<Error>();
  const ended = Promise.withResolvers<void>();
  const fail = (error: Error) => {
    client.fail(error);
    recovered.reject(error);
    died.resolve(error);
  };
  recovered.promise.catch(() => {});
  const { mountDir } = options;
  const lookUps = new LookUps(async (name) => {
    await (await openBelow(mountDir, name, O_PATH)).close();
  });
  const receive = (news: EngineNews) => {
    if (client.accept(news)) return;
    if (news.kind === 'log') {
      log[news.level](news.fields, news.message);
    } else if (news.kind === 'recovering') {
      recovering(news.database);
    } else if (news.kind === 'recovered') {
      client.adopt(news.databases, news.aside);
      recovered.resolve();
    } else if (news.kind === 'look-up') {
      lookUps.add(news.name);
    } else if (news.kind === 'make-wal') {
      makeWal(mountDir, news.database).catch((error) =>
        log.debug({ err: error }, 'a -wal cannot be made'),
      );
    } else if (news.kind === 'fatal') {
      fail(fromWire(news.error));
    }
  };
  main.port1.on('message', receive);
  worker.on('error', fail);
  worker.on('exit', () => {
    // Its last answers may still wait.
    for (let next = receiveMessageOnPort(main.port1); next; ) {
      receive(next.message);
      next = receiveMessageOnPort(main.port1);
    }
    client.fail(new LiteFsError('WRONG_STATE', 'the engine has stopped'));
    main.port1.close();
    ended.resolve();
  });
  return {
    client,
    shared,
    eventFd,
    mountPort: mount.port1,
    recovered: recovered.promise,
    died: died.promise,
    ended: ended.promise,
  };
}

/** As SQLite makes them: with the mode and the owner of the database. What has the name already stays as it is. */
async function makeWal(mountDir: string, database: string): Promise<void> {
  const file = await openBelow(mountDir, database, O_PATH);
  const { mode, uid, gid } = await file.stat().finally(() => file.close());
  for (const suffix of ['-wal', '-shm']) {
    try {
      const made = await openBelow(mountDir, database + suffix, NEW, mode & 0o777);
      await made.chown(uid, gid).finally(() => made.close());
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}

export interface MountThread {
  /** Resolves when the kernel is being served. */
  readonly started: Promise<{ passthrough: boolean }>;
  /** Resolves when the file system was unmounted, or with an error when the thread died. */
  readonly ended: Promise<Error | undefined>;
  /** Ends the service, and with it the file system for those who still use it. */
  stop(): void;
}

/** Starts serving a mounted device. */
export function startMount(
  engine: EngineThread,
  options: Omit<MountWorkerData, 'stop' | 'shared' | 'engine' | 'engineEventFd'>,
): MountThread {
  const stop = createEventFd();
  const workerData: MountWorkerData = {
    ...options,
    stop,
    shared: engine.shared.buffer,
    engine: engine.mountPort,
    engineEventFd: engine.eventFd,
  };
  const worker = startWorker('mount', { workerData, transferList: [engine.mountPort] });
  const started = Promise.withResolvers<{ passthrough: boolean }>();
  const ended = Promise.withResolvers<Error | undefined>();
  started.promise.catch(() => {});
  let failure: Error | undefined;
  worker.on('message', (news: MountNews) => {
    if (news.kind === 'started') started.resolve({ passthrough: news.passthrough });
    if (news.kind === 'failed') {
      failure = new Error(news.message);
      if (news.stack) failure.stack = news.stack;
    }
  });
  worker.on('error', (error) => {
    failure = error as Error;
  });
  worker.on('exit', () => {
    started.reject(failure ?? new Error('the mount ended before it was served'));
    ended.resolve(failure);
  });
  return { started: started.promise, ended: ended.promise, stop: () => signalEventFd(stop) };
}
