/**
 * Where commands write. What they tell has names in it that others have made, of files, hosts and nodes: those reach a terminal
 * as text, and can neither command it nor look like a line of ours.
 */
import { plainJson, plainLines, plainText } from '../plain-text.ts';

/** A line of its own, whatever is in it. */
export function printLine(line: string): void {
  process.stdout.write(`${plainText(line)}\n`);
}

/** Lines that end in a newline, made of values that are plain already (plainValue). */
export function printText(lines: string): void {
  process.stdout.write(plainLines(lines));
}

/** A program that reads it gets the same value. */
export function printJson(value: unknown): void {
  process.stdout.write(`${plainJson(value)}\n`);
}

/** What went wrong, and below it what to do. */
export function printError(message: string, hint?: string): void {
  process.stderr.write(`litefs-lite: ${plainText(message)}\n`);
  if (hint) process.stderr.write(`  ${plainText(hint)}\n`);
}

/** The same of several things, one a line. */
export function printErrors(messages: string): void {
  process.stderr.write(`litefs-lite: ${plainLines(messages)}\n`);
}
