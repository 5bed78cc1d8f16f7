/** The log: pino, JSON to a pipe, text on a terminal, and text with priorities to the journal. To standard error. */
import { pino } from 'pino';
import pretty from 'pino-pretty';
import type { Config } from './config/config.ts';
import { isJournal, journalText, PRIORITIES, type Priority } from './os/journal.ts';
import { plainText } from './plain-text.ts';

export type Logger = pino.Logger;

/** Of lines that could not be written yet. */
const WAITING_BYTES_MAX = 1 << 20;

/** `fields` first, as pino has it: log.info({database}, 'a sentence'). */
export function createLogger(options: Config['log']): Logger {
  const level = options.debug ? 'debug' : 'info';
  const text = options.format === 'text' || (options.format === 'auto' && process.stderr.isTTY);
  if (options.format === 'auto' && isJournal(2)) {
    return pino({ level, base: undefined, hooks }, journal());
  }
  if (!text) {
    const formatters = { level: (label: string) => ({ level: label }) };
    return pino({ level, base: undefined, formatters, hooks }, destination());
  }
  const stream = pretty({
    destination: 2,
    sync: true,
    colorize: process.stderr.isTTY && !process.env.NO_COLOR,
    translateTime: options.timestamp ? 'SYS:yyyy-mm-dd HH:MM:ss.l' : false,
    ignore: options.timestamp ? 'pid,hostname' : 'pid,hostname,time',
    hideObject: true,
  });
  return pino({ level, base: undefined, hooks }, stream);
}

/** Names that users and peers have made are in the lines: they must end none, and command no terminal that shows them. */
const hooks: pino.LoggerOptions['hooks'] = {
  logMethod(args, method) {
    const [first, message, ...rest] = args as unknown[];
    // Alone, an error is its own message.
    const text = typeof first === 'string' ? undefined : (message ?? messageOf(first));
    const plain = [typeof first === 'string' ? plainText(first) : first];
    if (typeof text === 'string') plain.push(plainText(text));
    else if (message !== undefined) plain.push(message);
    method.apply(this, [...plain, ...rest] as Parameters<typeof method>);
  },
};

const PRIORITY_OF: Readonly<Record<number, Priority>> = {
  20: PRIORITIES.debug,
  30: PRIORITIES.info,
  40: PRIORITIES.warning,
  50: PRIORITIES.error,
  60: PRIORITIES.critical,
};

/** It keeps the time, and which process it was. */
function journal(): pino.DestinationStream {
  const out = destination();
  return {
    write(line) {
      const { level, msg } = JSON.parse(line);
      out.write(journalText(PRIORITY_OF[level] ?? PRIORITIES.info, msg ?? ''));
    },
  };
}

function messageOf(value: unknown): string | undefined {
  return value instanceof Error ? value.message : undefined;
}

/** Where a log cannot be written, as on a full disk, the node goes on: the lines wait, and are written before the next. */
function destination() {
  const stream = pino.destination({ fd: 2, sync: true, maxLength: WAITING_BYTES_MAX });
  stream.on('error', () => {});
  return stream;
}
