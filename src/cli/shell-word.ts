/** A word of a command that is proposed to be typed into a shell. */

/** In quotes when a shell would make something else of it. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
