/** Names of databases in URLs and JSON are UTF-8 text; in the node they are byte strings (see store/layout.ts). */
import { HttpFault } from './fault.ts';

export { nameText } from '../store/layout.ts';

/** The database that `?name=` asks for. Throws HttpFault 400 when there is none, or it leads elsewhere. */
export function databaseName(query: URLSearchParams): string {
  const text = query.get('name');
  if (!text) {
    throw new HttpFault(400, 'USAGE', 'say which database', { hint: 'Add ?name=app.db' });
  }
  const parts = text.split('/');
  if (parts.some((part) => part === '' || part === '.' || part === '..') || text.includes('\0')) {
    throw new HttpFault(400, 'USAGE', `${JSON.stringify(text)} is no name of a database`, {
      hint: 'It is the path in the mount, without a slash at its beginning.',
    });
  }
  return Buffer.from(text, 'utf8').toString('latin1');
}
