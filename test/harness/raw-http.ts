/** HTTP byte by byte, as no client writes it, and what of it an application has seen. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';

/** A client is told from a node by its address. */
export const CLIENT_ADDRESS = '127.0.0.77';

/** All that comes back on one connection until it is closed. `localAddress`: from where. */
export async function exchange(
  port: number,
  text: string,
  localAddress: string = CLIENT_ADDRESS,
): Promise<string> {
  const socket = net.connect({ port, host: '127.0.0.1', localAddress });
  let answer = '';
  socket.on('data', (chunk) => (answer += chunk.toString('latin1')));
  socket.on('error', () => {});
  socket.write(text, 'latin1');
  await once(socket, 'close');
  return answer;
}

/** What the application has seen of a request that it echoes: headers by their name in lower case. */
export function seen(answer: string): Map<string, string> {
  assert.match(answer, /^HTTP\/1\.1 200 /, answer.slice(0, 300));
  const { headers } = JSON.parse(answer.slice(answer.indexOf('{'), answer.lastIndexOf('}') + 1));
  const raw = headers as string[];
  return new Map(
    raw.flatMap((name, i) => (i % 2 === 0 ? [[name.toLowerCase(), raw[i + 1]] as const] : [])),
  );
}
