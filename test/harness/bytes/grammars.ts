/** All grammars, by name. */
import type { Grammar } from './grammar.ts';
import { archive } from './grammars/archive.ts';
import { broken } from './grammars/broken.ts';
import { config } from './grammars/config.ts';
import { entriesGrammar } from './grammars/entries.ts';
import { frames, helloGrammar } from './grammars/frames.ts';
import { cookie, heads } from './grammars/heads.ts';
import { api, proxy } from './grammars/http.ts';
import { journal } from './grammars/journal.ts';
import { ltx } from './grammars/ltx.ts';
import { followers, leaders } from './grammars/sessions.ts';
import { shm } from './grammars/shm.ts';
import { start } from './grammars/start.ts';
import { wal } from './grammars/wal.ts';

export const GRAMMARS: readonly Grammar[] = [
  frames,
  helloGrammar,
  ltx,
  wal,
  shm,
  journal,
  config,
  cookie,
  heads,
  archive,
  api,
  proxy,
  followers,
  leaders,
  start,
  entriesGrammar,
];

/** Throws when there is none of that name. */
export function grammarOf(name: string): Grammar {
  const found = [...GRAMMARS, broken].find((grammar) => grammar.name === name);
  if (found) return found;
  throw new Error(`no grammar ${name}: ${GRAMMARS.map((grammar) => grammar.name).join(', ')}`);
}
