/**
 * A web application for tests, a process of its own: node:http and better-sqlite3 on one database in the mount.
 * Arguments: database file, port. Ends when its standard input ends.
 *
 *   POST /keys/<key>?value=…   sets it, in a transaction, and answers with its number
 *   GET  /keys/<key>           {"value": …}
 *   *    /echo                 the request as it came: method, url, headers, trailers, bytes and SHA-256 of the body
 *   GET  /bytes/<n>            so many bytes, from memory
 *   GET  /page/<n>             n rows of SQLite as JSON, about 100 bytes each
 *   GET  /ticks                Server-Sent Events: one at once, the next for each POST /tick
 *   GET  /replay               an answer that asks for another node: `fly-replay: <?wish>`
 *   GET  /hang                 headers, half of the body, and then the connection is cut
 *   Upgrade: echo              sends every byte back
 */
import { createHash } from 'node:crypto';
import http from 'node:http';
import Sqlite from 'better-sqlite3';

const [file, port] = process.argv.slice(2);
const tickers = new Set<http.ServerResponse>();
let database: Sqlite.Database | undefined;

function db(): Sqlite.Database {
  database ??= new Sqlite(file, { timeout: 5000 });
  return database;
}

function set(key: string, value: string): number {
  db().pragma('journal_mode = wal');
  db().exec('CREATE TABLE IF NOT EXISTS keys(key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID');
  const { changes } = db()
    .prepare('INSERT INTO keys VALUES(?, ?) ON CONFLICT DO UPDATE SET value = excluded.value')
    .run(key, value);
  return changes;
}

function get(key: string): string | null {
  const row = db().prepare('SELECT value FROM keys WHERE key = ?').get(key);
  return (row as { value: string } | undefined)?.value ?? null;
}

function page(rows: number): unknown[] {
  return db()
    .prepare(
      `WITH RECURSIVE ids(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM ids LIMIT ?)
       SELECT id, key, value, printf('%054d', id) AS title FROM ids, keys WHERE key = 'a'`,
    )
    .all(rows);
}

function json(response: http.ServerResponse, body: unknown, headers: object = {}): void {
  response.writeHead(200, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}

function echo(request: http.IncomingMessage, response: http.ServerResponse): void {
  const hash = createHash('sha256');
  let bytes = 0;
  request.on('data', (chunk: Buffer) => {
    hash.update(chunk);
    bytes += chunk.length;
  });
  request.on('end', () => {
    const { method, url, rawHeaders: headers, trailers } = request;
    json(response, { method, url, headers, trailers, bytes, sha256: hash.digest('hex') });
  });
}

function answer(request: http.IncomingMessage, response: http.ServerResponse): void {
  const url = new URL(request.url ?? '/', 'http://app');
  const [, name, rest = ''] = url.pathname.split('/');
  if (name === 'keys' && request.method === 'POST') {
    json(response, { changes: set(rest, url.searchParams.get('value') ?? '') });
  } else if (name === 'keys') json(response, { value: get(rest) });
  else if (name === 'page') json(response, page(Number(rest)));
  else if (name === 'bytes') response.end(Buffer.alloc(Number(rest), 'x'));
  else if (name === 'ticks') {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    response.write('data: first\n\n');
    tickers.add(response);
    response.on('close', () => tickers.delete(response));
  } else if (name === 'tick') {
    for (const ticker of tickers) ticker.write('data: next\n\n');
    json(response, { readers: tickers.size });
  } else if (name === 'replay') {
    const headers = { 'fly-replay': url.searchParams.get('wish') ?? '' };
    request.resume().on('end', () => {
      if (process.env.PRIMARY) json(response, { replayed: request.method });
      else json(response, 'not for the client', headers);
    });
  } else if (name === 'hang') {
    response.writeHead(200, { 'content-length': '1000' });
    response.write(Buffer.alloc(500), () => request.socket.destroy());
  } else if (name === 'trailers') {
    response.writeHead(200, { trailer: 'x-sum' });
    response.write('body');
    response.addTrailers({ 'x-sum': '42' });
    response.end();
  } else echo(request, response);
}

const server = http.createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  try {
    answer(request, response);
  } catch (error) {
    response.writeHead(500).end((error as Error).message);
  }
});
server.on('upgrade', (request, socket, head) => {
  if (request.headers.upgrade !== 'echo' && request.headers.upgrade !== 'websocket') {
    socket.end('HTTP/1.1 400 Bad Request\r\nContent-Length: 7\r\n\r\nrefused');
    return;
  }
  const { upgrade } = request.headers;
  const name = process.env.PRIMARY ? 'primary' : 'replica';
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: ${upgrade}\r\nConnection: Upgrade\r\nX-App: ${name}\r\n\r\n`,
  );
  socket.write(head);
  socket.on('error', () => socket.destroy());
  socket.pipe(socket);
});
server.listen(Number(port), '127.0.0.1', () => process.stdout.write('listening\n'));
process.stdin.resume().on('end', () => process.exit());
