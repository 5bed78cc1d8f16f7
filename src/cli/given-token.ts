/**
 * The token that `init` is given. On the command line other users of the machine see it in the list of processes, and the
 * shell writes it into its history; so `-` has it read from standard input, and asked for where that is a terminal.
 */
import readline from 'node:readline/promises';
import { Writable } from 'node:stream';
import { LiteFsError } from '../errors.ts';

/** The longest has some 1,700 characters. */
const BYTES_MAX = 8192;
const HINT = 'Copy the whole line that "litefs-lite token" prints on the primary.';

/** `given`: behind --token. Throws USAGE when nothing comes, or too much. */
export async function givenToken(given: string): Promise<string> {
  if (given === '-') return process.stdin.isTTY ? typedToken() : pipedToken();
  process.stderr.write(
    'litefs-lite: other users could see the token in the list of processes, and a shell keeps it in its history: ' +
      '--token - asks for it\n',
  );
  return given;
}

/** One line, which is not shown while it is typed. */
async function typedToken(): Promise<string> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = readline.createInterface({
    input: process.stdin,
    output: nowhere,
    terminal: true,
    historySize: 0,
  });
  const ended = new Promise<never>((_, reject) => {
    lines.on('close', () => reject(new LiteFsError('USAGE', 'no token was given', { hint: HINT })));
  });
  // When the terminal shows no more what is typed.
  process.stderr.write('What "litefs-lite token" printed on the primary (it is not shown here): ');
  try {
    return await Promise.race([lines.question(''), ended]);
  } finally {
    lines.close();
    process.stderr.write('\n');
  }
}

async function pipedToken(): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > BYTES_MAX) {
      throw new LiteFsError('USAGE', 'what comes from standard input is no token', { hint: HINT });
    }
  }
  return Buffer.concat(chunks).toString('utf8');
}
