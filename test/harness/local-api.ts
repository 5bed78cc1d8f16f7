/** Requests to a node's Unix socket, as fetch() makes them to a URL. */
import http from 'node:http';
import { pipeline, Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';

/** `where`: a path with a query. Rejects as the connection fails. */
export function fetchLocally(
  socketPath: string,
  where: string,
  { method = 'GET', headers, body, signal }: RequestInit = {},
): Promise<Response> {
  const sent = body ? new Response(body).body : null;
  return new Promise((resolve, reject) => {
    const request = http.request(
      {
        socketPath,
        path: where,
        method,
        headers: headers as Record<string, string> | undefined,
        signal: signal ?? undefined,
        agent: false,
      },
      (answer) => {
        const status = answer.statusCode ?? 0;
        const content =
          method === 'HEAD' ? null : (Readable.toWeb(answer) as ReadableStream<Uint8Array>);
        if (method === 'HEAD') answer.resume();
        const pairs = Object.entries(answer.headersDistinct).flatMap(([name, values = []]) =>
          values.map((value): [string, string] => [name, value]),
        );
        resolve(new Response(content, { status, headers: pairs }));
      },
    );
    request.on('error', reject);
    if (sent) pipeline(Readable.fromWeb(sent as ReadableStream), request, () => {});
    else request.end();
  });
}
