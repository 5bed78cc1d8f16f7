/**
 * Another process with a SQLite connection: executes what it is sent, {sql} for statements and {query} for
 * rows, and answers {rows} or {error}. Its first argument is the database.
 */
import Sqlite from 'better-sqlite3';

const db = new Sqlite(process.argv[2], { timeout: 0 });

process.on('message', ({ sql, query }: { sql?: string; query?: string }) => {
  try {
    if (sql !== undefined) db.exec(sql);
    const rows = query === undefined ? [] : db.prepare(query).all();
    process.send?.({ rows });
  } catch (error) {
    process.send?.({ error: String(error) });
  }
});
