/** What is different between two states of a database, as SQL sees it: tables, and how many rows of each. */
import path from 'node:path';
import Database from 'better-sqlite3';
import { LiteFsError } from '../errors.ts';
import { ARCHIVED_SO, isOfContent, isUnknown } from './integrity.ts';

export interface TableDifference {
  readonly table: string;
  /** undefined: the table was not there. */
  readonly rowsBefore: number | undefined;
  readonly rowsAfter: number | undefined;
  /** undefined: it cannot be compared. */
  readonly added: number | undefined;
  readonly removed: number | undefined;
  readonly schemaChanged: boolean;
  /** Why it cannot be compared: it needs a collation of its application's, say. */
  readonly unknown?: string;
}

/**
 * Compares two database files that nobody writes. A changed row counts as one removed and one added. Tables that are the
 * same are left out. Throws DATABASE_CORRUPT when SQLite cannot read all of them; DISK when there is no space for it.
 */
export function differingTables(before: string, after: string): TableDifference[] {
  try {
    return compareFiles(before, after);
  } catch (error) {
    if (!(error instanceof Database.SqliteError)) throw error;
    const message = `the two states cannot be compared: ${error.message}`;
    if (isOfContent(error)) {
      throw new LiteFsError('DATABASE_CORRUPT', message, { hint: ARCHIVED_SO, cause: error });
    }
    if (isUnknown(error)) {
      const hint = 'Restore both with --output, and compare the files by other means.';
      throw new LiteFsError('DATABASE_CORRUPT', message, { hint, cause: error });
    }
    throw new LiteFsError('DISK', message, {
      hint: `Are the disks of ${path.dirname(after)} and of $TMPDIR writable, and not full?`,
      cause: error,
    });
  }
}

function compareFiles(before: string, after: string): TableDifference[] {
  const db = new Database(after, { fileMustExist: true });
  try {
    db.pragma('locking_mode = EXCLUSIVE');
    db.prepare('ATTACH ? AS before').run(before);
    const [old, now] = [tablesOf(db, 'before'), tablesOf(db, 'main')];
    const names = [...new Set([...old.keys(), ...now.keys()])].sort();
    return names.flatMap((table) => {
      const difference = compareAnyhow(db, table, old.get(table), now.get(table));
      const { added, removed, schemaChanged } = difference;
      return added === 0 && removed === 0 && !schemaChanged ? [] : [difference];
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

/** What SQLite cannot compare here is not known to be the same. */
function compareAnyhow(
  db: Database.Database,
  table: string,
  sqlBefore: string | undefined,
  sqlAfter: string | undefined,
): TableDifference {
  try {
    return compare(db, table, sqlBefore, sqlAfter);
  } catch (error) {
    if (!isUnknown(error)) throw error;
    const none = { rowsBefore: undefined, rowsAfter: undefined, added: undefined };
    const schemaChanged = sqlBefore !== sqlAfter;
    return { table, ...none, removed: undefined, schemaChanged, unknown: error.message };
  }
}

function compare(
  db: Database.Database,
  table: string,
  sqlBefore: string | undefined,
  sqlAfter: string | undefined,
): TableDifference {
  const name = `"${table.replaceAll('"', '""')}"`;
  const count = (sql: string): number => db.prepare(sql).pluck().get() as number;
  // An index may need a collation that only the application has.
  const rowsBefore = sqlBefore && count(`SELECT count(*) FROM before.${name} NOT INDEXED`);
  const rowsAfter = sqlAfter && count(`SELECT count(*) FROM main.${name} NOT INDEXED`);
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
  // Both in the inner selects and in the outer one the table's own collations would be asked for.
  const exactly = list.map((column) => `${column} COLLATE BINARY`);
  const values = exactly.map((column, index) => `${column} AS c${index}`).join(', ');
  const groups = list.map((_, index) => `c${index} COLLATE BINARY`).join(', ');
  const rows = (schema: string, sign: number) =>
    `SELECT ${values}, ${sign} AS side FROM ${schema}.${name} NOT INDEXED`;
  const [added, removed] = db
    .prepare(
      `SELECT coalesce(sum(max(more, 0)), 0), coalesce(sum(max(-more, 0)), 0) FROM (
         SELECT sum(side) AS more FROM (${rows('main', 1)} UNION ALL ${rows('before', -1)})
         GROUP BY ${groups})`,
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
