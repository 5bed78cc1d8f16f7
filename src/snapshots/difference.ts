/** What is different between two states of a database, as SQL sees it: tables, and how many rows of each. */
import Database from 'better-sqlite3';

export interface TableDifference {
  readonly table: string;
  /** undefined: the table was not there. */
  readonly rowsBefore: number | undefined;
  readonly rowsAfter: number | undefined;
  readonly added: number;
  readonly removed: number;
  readonly schemaChanged: boolean;
}

/**
 * Compares two database files that nobody writes. A changed row counts as one removed and one added. Tables that are the
 * same are left out. Throws SqliteError for a file that is no database.
 */
export function differingTables(before: string, after: string): TableDifference[] {
  const db = new Database(after, { fileMustExist: true });
  try {
    db.pragma('locking_mode = EXCLUSIVE');
    db.prepare('ATTACH ? AS before').run(before);
    const [old, now] = [tablesOf(db, 'before'), tablesOf(db, 'main')];
    const names = [...new Set([...old.keys(), ...now.keys()])].sort();
    return names.flatMap((table) => {
      const difference = compare(db, table, old.get(table), now.get(table));
      const { added, removed, schemaChanged } = difference;
      return added + removed === 0 && !schemaChanged ? [] : [difference];
    });
  } finally {
    db.close();
  }
}

/** Tables that hold rows of their own, with the SQL that made them. */
function tablesOf(db: Database.Database, schema: 'main' | 'before'): Map<string, string> {
  const rows = db
    .prepare(
      `SELECT name, sql FROM ${schema}.sqlite_master
       WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'`,
    )
    .all() as { name: string; sql: string }[];
  return new Map(rows.map(({ name, sql }) => [name, sql]));
}

function compare(
  db: Database.Database,
  table: string,
  sqlBefore: string | undefined,
  sqlAfter: string | undefined,
): TableDifference {
  const name = `"${table.replaceAll('"', '""')}"`;
  const count = (sql: string): number => db.prepare(sql).pluck().get() as number;
  const rowsBefore = sqlBefore && count(`SELECT count(*) FROM before.${name}`);
  const rowsAfter = sqlAfter && count(`SELECT count(*) FROM main.${name}`);
  const sizes = {
    rowsBefore: typeof rowsBefore === 'number' ? rowsBefore : undefined,
    rowsAfter: typeof rowsAfter === 'number' ? rowsAfter : undefined,
  };
  const schemaChanged = sqlBefore !== sqlAfter;
  if (schemaChanged && columns(db, 'before', table) !== columns(db, 'main', table)) {
    const [removed = 0, added = 0] = [sizes.rowsBefore, sizes.rowsAfter];
    return { table, ...sizes, added, removed, schemaChanged };
  }
  // Of each content, how many more rows of it there are on one side than on the other.
  const list = names(db, 'main', table);
  const rows = (schema: string, sign: number) =>
    `SELECT ${list.join(', ')}, ${sign} AS side FROM ${schema}.${name}`;
  const exactly = list.map((column) => `${column} COLLATE BINARY`).join(', ');
  const [added, removed] = db
    .prepare(
      `SELECT coalesce(sum(max(more, 0)), 0), coalesce(sum(max(-more, 0)), 0) FROM (
         SELECT sum(side) AS more FROM (${rows('main', 1)} UNION ALL ${rows('before', -1)})
         GROUP BY ${exactly})`,
    )
    .raw()
    .get() as [number, number];
  return { table, ...sizes, added, removed, schemaChanged };
}

/** The table's columns as SQL names them, in order; '' when it is not there. */
function columns(db: Database.Database, schema: string, table: string): string {
  return names(db, schema, table).join(', ');
}

function names(db: Database.Database, schema: string, table: string): string[] {
  const rows = db.prepare(`SELECT name FROM pragma_table_info(?, ?)`).all(table, schema) as {
    name: string;
  }[];
  return rows.map(({ name }) => `"${name.replaceAll('"', '""')}"`);
}
