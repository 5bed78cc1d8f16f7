/**
 * An application written for LiteFS on Fly.io, with litefs-js as its documents show it. Argument: `http` or
 * `express`, the helpers that it uses.
 *
 *   POST /notes?text=…       adds a note
 *   GET  /notes/add?text=…   the same, which only the application knows to be a write: it asks for the replay
 *   GET  /notes              all of them, and which instance has answered
 */
import http from 'node:http';
import path from 'node:path';
import Sqlite from 'better-sqlite3';
import express from 'express';
import { getInstanceInfo } from 'litefs-js';
import * as expressHelpers from 'litefs-js/express';
import * as helpers from 'litefs-js/http';

const { LITEFS_DIR = '', DATABASE_FILENAME = '', PORT } = process.env;
let database: Sqlite.Database | undefined;

function db(): Sqlite.Database {
  database ??= new Sqlite(path.join(LITEFS_DIR, DATABASE_FILENAME), { timeout: 5000 });
  return database;
}

function add(text: string): void {
  db().pragma('journal_mode = wal');
  db().exec('CREATE TABLE IF NOT EXISTS notes(id INTEGER PRIMARY KEY, text TEXT)');
  db().prepare('INSERT INTO notes(text) VALUES(?)').run(text);
}

async function notes(): Promise<object> {
  const rows = db().prepare('SELECT text FROM notes ORDER BY id').all() as { text: string }[];
  return { notes: rows.map(({ text }) => text), ...(await getInstanceInfo()) };
}

async function answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
  if (await helpers.handleTransactionalConsistency(request, response)) return;
  const url = new URL(request.url ?? '/', 'http://app');
  response.setHeader('content-type', 'application/json');
  if (request.method === 'POST' || url.pathname === '/notes/add') {
    if (await helpers.ensurePrimary(response)) return;
    add(url.searchParams.get('text') ?? '');
    await helpers.setTxCookie(response);
    response.end('{}');
  } else {
    response.end(JSON.stringify(await notes()));
  }
}

function withExpress(): http.RequestListener {
  const app = express();
  app.use(expressHelpers.getTransactionalConsistencyMiddleware());
  app.use(expressHelpers.getEnsurePrimaryMiddleware());
  app.post('/notes', async (request, response) => {
    add(String(request.query.text));
    await expressHelpers.setTxCookie(response);
    response.json({});
  });
  app.get('/notes/add', async (request, response) => {
    if (await expressHelpers.ensurePrimary(response)) return;
    add(String(request.query.text));
    await expressHelpers.setTxCookie(response);
    response.json({});
  });
  app.get('/notes', async (_, response) => {
    response.json(await notes());
  });
  return app;
}

const server = http.createServer(process.argv[2] === 'express' ? withExpress() : answer);
server.listen(Number(PORT), '127.0.0.1', () => process.stdout.write('listening\n'));
process.stdin.resume().on('end', () => process.exit());
