/** Names of databases in URLs and JSON are UTF-8 text; in the node they are byte strings (see store/layout.ts). */
import { nameFault } from '../mount/names.ts';
import { plainText } from '../plain-text.ts';
import { HttpFault } from './fault.ts';

export { nameText } from '../store/layout.ts';

/** The database that `?name=` asks for. Throws HttpFault 400 when there is none, or it leads elsewhere. */
export function databaseName(query: URLSearchParams): string {
  const text = query.get('name');
  if (!text) {
    throw new HttpFault(400, 'USAGE', 'say which database', { hint: 'Add ?name=app.db' });
  }
  const name = Buffer.from(text, 'utf8').toString('latin1');
  const fault = nameFault(name);
  if (fault === undefined) return name;
  const shown = plainText(JSON.stringify(text));
  throw new HttpFault(400, 'USAGE', `${shown} is no name of a database: it ${fault}`, {
    hint: 'It is the path in the mount, without a slash at its beginning.',
  });
}
