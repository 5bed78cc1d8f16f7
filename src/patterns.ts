/** Patterns as LiteFS has them: `*` stands for anything, the rest for itself, and all of the text must fit. */

/** Whether a text fits one of the patterns. Takes time linear in the text, whatever a stranger sends. */
export function textMatcher(patterns: readonly string[]): (text: string) => boolean {
  const matchers = patterns.map(matcher);
  return (text) => matchers.some((matches) => matches(text));
}

/**
 * Whether a database's name fits one of the patterns; all do when there are none. Names are byte strings
 * (store/layout.ts), patterns are text.
 */
export function nameMatcher(patterns: readonly string[] | undefined): (name: string) => boolean {
  if (!patterns) return () => true;
  return textMatcher(patterns.map((pattern) => Buffer.from(pattern).toString('latin1')));
}

function matcher(pattern: string): (text: string) => boolean {
  const [first, ...rest] = pattern.split('*');
  const last = rest.pop();
  if (last === undefined) return (text) => text === pattern;
  return (text) => {
    const end = text.length - last.length;
    if (!text.startsWith(first) || !text.endsWith(last) || end < first.length) return false;
    // The leftmost place for each part leaves the most room for those after it.
    let at = first.length;
    for (const part of rest) {
      const found = text.indexOf(part, at);
      if (found < 0 || found + part.length > end) return false;
      at = found + part.length;
    }
    return true;
  };
}
