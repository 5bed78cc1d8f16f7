/** What a database has beyond its position cannot always be told: an error for who asked for all of it. */
import type { Uncaptured } from '../engine/protocol.ts';
import { LiteFsError } from '../errors.ts';
import { nameText } from '../http/names.ts';

export function notToBeTold({ database, reason }: Uncaptured): LiteFsError {
  const name = nameText(database);
  return new LiteFsError(
    'DATABASE_BUSY',
    `what is committed in ${name} cannot be told: ${reason}`,
    {
      hint: 'End the transaction or the program that holds it, and ask again.',
    },
  );
}
