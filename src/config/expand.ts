/**
 * Environment variables in the text of a config file, before it is parsed:
 *
 *   $VAR  ${VAR}          the value; an error when VAR is not defined
 *   ${VAR:-default}       the default when VAR is not defined or empty
 *   ${VAR == "x"}         true or false; an undefined VAR counts as empty; also 'x' and !=
 *   ${A == B}             compares two variables, both of which must be defined: two undefined
 *                         names would be equal, and every node a primary
 *   $$                    a dollar sign; so is a $ before anything else, such as $5
 *
 * Comments are left alone. LiteFS expands what is undefined to nothing, in silence.
 */
import { CST, Lexer } from 'yaml';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Something wrong at a place of the source: an offset in chars (UTF-16 units). */
export interface SourceProblem {
  readonly offset: number;
  readonly text: string;
}

export interface ExpandedSource {
  readonly text: string;
  readonly problems: readonly SourceProblem[];
  /** The place in the source from which the char at this offset of `text` came. */
  sourceOffset(offset: number): number;
}

const NAME = '[A-Za-z_][A-Za-z0-9_]*';
const VARIABLE = new RegExp(`\\$(?:\\$|(${NAME})|\\{([^}\\n]*)(\\}?))`, 'g');
const IN_BRACES = new RegExp(
  `^\\s*(${NAME})(?:(:-)(.*)|\\s*(==|!=)\\s*(?:"(.*)"|'(.*)'|(${NAME}))\\s*|\\s*)$`,
);

/** Expands all variables; where that fails, nothing is put in their place and a problem is noted. */
export function expandVariables(source: string, env: Environment): ExpandedSource {
  const problems: SourceProblem[] = [];
  /** Parallel, ascending: from `at` in the text on, chars come from `from` in the source. */
  const pieces: { at: number; from: number; fixed: boolean }[] = [];
  const comments = commentRanges(source);
  let text = '';
  let done = 0;
  for (const match of source.matchAll(VARIABLE)) {
    const offset = match.index;
    if (comments.some(([start, end]) => offset >= start && offset < end)) continue;
    const value = replacement(match, env);
    if (typeof value !== 'string') problems.push({ offset, text: value.problem });
    pieces.push({ at: text.length, from: done, fixed: false });
    text += source.slice(done, offset);
    pieces.push({ at: text.length, from: offset, fixed: true });
    text += typeof value === 'string' ? value : '';
    done = offset + match[0].length;
  }
  pieces.push({ at: text.length, from: done, fixed: false });
  text += source.slice(done);
  return {
    text,
    problems,
    sourceOffset: (offset) => {
      const piece = pieces.findLast(({ at }) => at <= offset) ?? { at: 0, from: 0, fixed: false };
      return piece.fixed ? piece.from : piece.from + offset - piece.at;
    },
  };
}

/** The text as it is, for -no-expand-env. */
export function unexpanded(source: string): ExpandedSource {
  return { text: source, problems: [], sourceOffset: (offset) => offset };
}

function replacement(match: RegExpExecArray, env: Environment): string | { problem: string } {
  const [whole, plain, inBraces, closing] = match;
  if (whole === '$$') return '$';
  if (plain !== undefined) return defined(plain, env);
  if (closing === '')
    return { problem: `$\{ is never closed: write } after it, or $$\{ for the text` };
  const parts = IN_BRACES.exec(inBraces);
  if (!parts) {
    return {
      problem: `${whole} cannot be understood: write \${VAR}, \${VAR:-default}, \${VAR == "x"} or \${A != B}`,
    };
  }
  const [, name, orDefault, preset, operator, double, single, other] = parts;
  if (orDefault) return env[name] || preset;
  if (!operator) return defined(name, env);
  let left: string | { problem: string } = env[name] ?? '';
  let right: string | { problem: string } = double ?? single ?? '';
  if (other !== undefined) {
    left = defined(name, env);
    right = defined(other, env);
    if (typeof left !== 'string') return left;
    if (typeof right !== 'string') return right;
  }
  return String((left === right) === (operator === '=='));
}

function defined(name: string, env: Environment): string | { problem: string } {
  return (
    env[name] ?? {
      problem: `the environment variable ${name} is not defined: define it, or write \${${name}:-default}; for the text itself write $$${name}`,
    }
  );
}

/** Start and end offsets of YAML comments, as the YAML library's own lexer sees them. */
function commentRanges(source: string): [number, number][] {
  const marks = new Set([CST.DOCUMENT, CST.FLOW_END, CST.SCALAR]);
  const ranges: [number, number][] = [];
  let offset = 0;
  let previous = '';
  for (const token of new Lexer().lex(source)) {
    if (token[0] === '#' && previous !== CST.SCALAR) ranges.push([offset, offset + token.length]);
    if (!marks.has(token)) offset += token.length;
    previous = token;
  }
  return ranges;
}
