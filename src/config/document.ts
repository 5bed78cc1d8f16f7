/**
 * A YAML text as a value, with the way back from a path of keys to the place in the text.
 *
 * The YAML library's own messages quote the text, which may hold secrets; so they are not passed on, only
 * what kind of error it is and where.
 */
import {
  type Document,
  type ErrorCode,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  type Node,
  type Pair,
  parseDocument,
  visit,
} from 'yaml';
import type { SourceProblem } from './expand.ts';

const YAML_ERRORS: Partial<Record<ErrorCode, string>> = {
  BAD_DQ_ESCAPE: 'a backslash in "…" that escapes nothing: double it, or quote with \'…\'',
  BAD_INDENT: 'wrong indentation: keys of one group must begin in the same column',
  BAD_SCALAR_START: 'a value that begins with a character of YAML: put it in quotes',
  BLOCK_AS_IMPLICIT_KEY: 'a second ": " in one line: put the value in quotes',
  BLOCK_IN_FLOW: 'an indented group within { } or [ ]',
  DUPLICATE_KEY: 'a key that is already there: remove one of them',
  MISSING_CHAR:
    'a missing character: look for an open quote, brace or bracket, or ":" without a blank',
  MULTILINE_IMPLICIT_KEY: 'a key without ":" after it, or with a value on two lines',
  MULTIPLE_DOCS: 'a second document (---): a config file holds one',
  NON_STRING_KEY: 'a key that is not text: put it in quotes',
  TAB_AS_INDENT: 'a tab at the start of a line: indent with blanks',
  TAG_RESOLVE_FAILED: 'a word with "!" before it: put it in quotes',
  UNEXPECTED_TOKEN: 'something that does not belong here: look for a quote or a missing ":"',
};

const NO_ANCHOR = 'a reference (*) to an anchor (&) that is not there: put the text in quotes';

export interface ConfigDocument {
  /** The value; undefined when there are problems. An empty text is an empty group. */
  readonly value: unknown;
  readonly problems: readonly SourceProblem[];
  /** Offset of the key or value at a path; of the nearest enclosing one when there is none. */
  offsetOf(path: readonly PropertyKey[], at: 'key' | 'value'): number;
  /** How much of a path is really in the text. */
  presentPath(path: readonly PropertyKey[]): PropertyKey[];
}

export function parseConfigDocument(text: string): ConfigDocument {
  const document = parseDocument(text, { prettyErrors: false, merge: true, stringKeys: true });
  const problems: SourceProblem[] = [...document.errors, ...document.warnings].map((error) => ({
    offset: error.pos[0],
    text: `not valid YAML: ${YAML_ERRORS[error.code] ?? error.code}`,
  }));
  if (problems.length === 0) problems.push(...unresolvedAliases(document));

  let value: unknown;
  if (problems.length === 0) {
    try {
      value = document.toJS() ?? {};
    } catch {
      problems.push({ offset: 0, text: 'not valid YAML: references (*) that multiply' });
    }
  }
  return {
    value,
    problems,
    offsetOf: (path, at) => trace(document, path, at).offset,
    presentPath: (path) => path.slice(0, trace(document, path, 'value').depth),
  };
}

function unresolvedAliases(document: Document): SourceProblem[] {
  const problems: SourceProblem[] = [];
  visit(document, {
    Alias: (_, alias) => {
      if (alias.resolve(document) === undefined) {
        problems.push({ offset: alias.range?.[0] ?? 0, text: `not valid YAML: ${NO_ANCHOR}` });
      }
    },
  });
  return problems;
}

/** Follows a path as far as it goes. */
function trace(
  document: Document,
  path: readonly PropertyKey[],
  at: 'key' | 'value',
): { offset: number; depth: number } {
  let node: Node | null | undefined = document.contents;
  let offset = node?.range?.[0] ?? 0;
  for (const [depth, step] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document);
    let key: Node | undefined;
    if (isMap<Node, Node | null>(node)) {
      const pair: Pair<Node, Node | null> | undefined = node.items.find(
        (item) => isScalar(item.key) && item.key.value === step,
      );
      if (!pair) return { offset, depth };
      key = pair.key;
      node = pair.value;
    } else if (isSeq<Node>(node) && typeof step === 'number' && node.items[step]) {
      node = node.items[step];
    } else {
      return { offset, depth };
    }
    const last = depth === path.length - 1;
    // A group is shown by its key: its own place is that of its first key, on the next line.
    const blamed = key && ((last && at === 'key') || !isScalar(node)) ? key : node;
    offset = blamed?.range?.[0] ?? offset;
  }
  return { offset, depth: path.length };
}
