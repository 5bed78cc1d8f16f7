/**
 * A command line as `exec` has it: words separated by blanks, quoted as in a shell, not run by one.
 *
 *   'single'      everything as it is
 *   "double"      \" and \\ stand for " and \
 *   \x            x, outside quotes
 *
 * Pipes, redirections, `;`, `&` and backticks outside quotes are refused: nothing here would obey
 * them (LiteFS drops the rest of the line there, in silence).
 */
import { Fault } from './fault.ts';

const WANTS_SHELL = "outside quotes means something to a shell only: quote it, or write sh -c '…'";

/** The words of a command, at least one. */
export function splitWords(command: string): string[] | Fault {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let i = 0; i < command.length; i++) {
    const char = command[i];
    if (quote === "'") {
      if (char === quote) quote = '';
      else word += char;
    } else if (quote === '"') {
      if (char === quote) quote = '';
      else if (char === '\\' && '"\\$`'.includes(command[i + 1] ?? '-')) word += command[++i];
      else word += char;
    } else if (char === "'" || char === '"') {
      quote = char;
      word ??= '';
    } else if (char === '\\') {
      if (++i === command.length) return new Fault('ends with a backslash that escapes nothing');
      word = (word ?? '') + command[i];
    } else if (/\s/.test(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (';&|<>`'.includes(char)) {
      return new Fault(`holds a ${char} that ${WANTS_SHELL}`);
    } else {
      word = (word ?? '') + char;
    }
  }
  if (quote !== '') return new Fault(`has a ${quote} that is never closed`);
  if (word !== undefined) words.push(word);
  if (words.length === 0) return new Fault('is an empty command');
  return words;
}
