/** What is written to systemd's journal by way of standard error: sd-daemon(3), systemd.exec(5). */
import fs from 'node:fs';

/** Of syslog(3). */
export const PRIORITIES = { critical: 2, error: 3, warning: 4, info: 6, debug: 7 } as const;

export type Priority = (typeof PRIORITIES)[keyof typeof PRIORITIES];

/** Whether what a descriptor leads to is the journal, as systemd has told. */
export function isJournal(fd: number, env: NodeJS.ProcessEnv = process.env): boolean {
  const told = env.JOURNAL_STREAM;
  if (told === undefined) return false;
  try {
    const { dev, ino } = fs.fstatSync(fd, { bigint: true });
    return told === `${dev}:${ino}`;
  } catch {
    return false;
  }
}

/** The text as entries of the journal, one a line, each with its priority; it ends with a line feed. */
export function journalText(priority: Priority, text: string): string {
  return text
    .split('\n')
    .map((line) => `<${priority}>${line}\n`)
    .join('');
}
