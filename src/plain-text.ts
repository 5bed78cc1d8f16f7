/**
 * Text that others have made, for a terminal, a log or a page: names of files and hosts, and what peers say. All of Unicode may be
 * in it, and some of that is no text: it moves the cursor, ends the line, or turns the order of what stands beside it around.
 */

/**
 * C0 and C1 controls and DEL; soft hyphens and what has no width; marks, embeddings, overrides and isolates of the bidirectional
 * algorithm; the separators of lines and paragraphs; tags; half of a surrogate pair.
 */
const UNPLAIN =
  /[\p{Cc}\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}\p{Cs}]/gu;

/** With `\x1b` or `\u{202e}` in the place of each character that is no text. What is plain already is not changed. */
export function plainText(text: string): string {
  return text.replace(UNPLAIN, escaped);
}

/** The same of several lines, which stay lines. */
export function plainLines(text: string): string {
  return text.split('\n').map(plainText).join('\n');
}

/** All texts of a value as JSON has it, keys too, made plain. */
export function plainValue<T>(value: T): T {
  if (typeof value === 'string') return plainText(value) as T;
  if (Array.isArray(value)) return value.map(plainValue) as T;
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value).map(([key, each]) => [plainText(key), plainValue(each)]);
  return Object.fromEntries(entries) as T;
}

/** The same value in JSON, where a terminal may be what reads it. */
export function plainJson(value: unknown, indent = 2): string {
  const inJson = (char: string) =>
    [...Array(char.length).keys()]
      .map((i) => `\\u${char.charCodeAt(i).toString(16).padStart(4, '0')}`)
      .join('');
  const lines = JSON.stringify(value, null, indent).split('\n');
  return lines.map((line) => line.replace(UNPLAIN, inJson)).join('\n');
}

function escaped(char: string): string {
  const code = char.codePointAt(0) as number;
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
}
