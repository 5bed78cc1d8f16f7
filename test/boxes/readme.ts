/** The commands that the documents tell users to type, read out of the documents. */
import fs from 'node:fs';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '../..');

/**
 * The indented block that follows a line which ends with `after`, a command a line, without comments.
 * @throws when the document has no such line, or more than one
 */
export function commandsAfter(document: string, after: string): string[] {
  const lines = fs.readFileSync(path.join(ROOT, document), 'utf8').split('\n');
  const places = lines.flatMap((line, at) => (line.endsWith(after) ? [at] : []));
  if (places.length !== 1) throw new Error(`${document} has ${places.length} lines "…${after}"`);
  const block: string[] = [];
  for (const line of lines.slice(places[0] + 1)) {
    if (line === '' && block.length === 0) continue;
    if (!line.startsWith('    ')) break;
    block.push(line.trim().replace(/\s{2,}#.*$/, ''));
  }
  if (block.length === 0) throw new Error(`${document} has no commands after "…${after}"`);
  return block;
}
