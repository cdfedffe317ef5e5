// The sealed file: one SQLite database, encrypted page by page with a key that only the instance's own slot can
// derive. Opened twice, by the writer in its worker thread and read-only by the thread that serves; and once more for
// each snapshot that is being read.
import { randomUUID } from 'node:crypto';
import Database from 'better-sqlite3-multiple-ciphers';
import { decode, encode } from '../../values/cbor.js';

export type Connection = Database.Database;

/** Version of `meta` and `log` below; a file with another one is refused. */
const SCHEMA = 1;
/** Bytes; records of two kilobytes or so fit without overflow pages. */
const PAGE_SIZE = 8192;
/**
 * Memory for decrypted pages of the thread that serves, in KiB, taken as pages are read: enough for the index of half a
 * million ids, so that a record that is not at hand costs the decryption of one page and not of two or three.
 */
const READER_CACHE_KIB = 65_536;
/** The same for who reads everything once, in order. */
const PASSING_CACHE_KIB = 2_048;

/**
 * Opens the file, made new when `readonly` is not given and it does not exist.
 * @param options `once`: it is read from its beginning to its end, and no page is asked for again.
 * @param key 32 bytes. Throws `SQLITE_NOTADB` when the file was sealed with another.
 */
export function openDatabase(
  path: string,
  key: Uint8Array,
  options:
    | { readonly readonly: true; readonly once?: true }
    | { readonly readonly: false; readonly tables: readonly string[] },
): Connection {
  const database = new Database(path, { readonly: options.readonly, fileMustExist: options.readonly });
  try {
    // A raw key: the slot derived it, so SQLCipher's own password derivation would only cost start-up time.
    database.pragma("cipher='sqlcipher'");
    database.pragma('legacy=4');
    // All of the file is ciphertext, its header too: the page size must be known before it is read.
    database.pragma(`legacy_page_size=${PAGE_SIZE}`);
    database.pragma(`key="x'${Buffer.from(key).toString('hex')}'"`);
    if (options.readonly)
      database.pragma(`cache_size=-${options.once ? PASSING_CACHE_KIB : READER_CACHE_KIB}`);
    else prepareTables(database, options.tables);
    const found = database.pragma('user_version', { simple: true });
    if (found !== SCHEMA)
      throw new Error(`the store has format ${String(found)}, this build reads ${SCHEMA}`);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

function prepareTables(database: Connection, tables: readonly string[]): void {
  database.pragma(`page_size=${PAGE_SIZE}`);
  database.pragma('journal_mode=WAL');
  database.pragma('synchronous=FULL');
  database.transaction(() => {
    if (database.pragma('user_version', { simple: true }) === 0) {
      database.exec(`
        CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL);
        CREATE TABLE log (
          idx INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, time INTEGER NOT NULL,
          mutation BLOB NOT NULL, changesHash BLOB NOT NULL, hash BLOB NOT NULL
        );
      `);
      database.pragma(`user_version=${SCHEMA}`);
    }
    // Each time: this build may know a table that the file was made without.
    for (const name of tables) {
      database.exec(
        `CREATE TABLE IF NOT EXISTS ${tableOf(name)} (id TEXT PRIMARY KEY, record BLOB NOT NULL)`,
      );
    }
    // Made with the file, and never changed: it is what the view knows this store by.
    database
      .prepare("INSERT OR IGNORE INTO meta (name, value) VALUES ('store', ?)")
      .run(encode(randomUUID()));
  })();
}

/** What the file says of itself. */
export interface Meta {
  /** Random, of this file alone. */
  readonly store: string;
  /** Highest epoch of a view that this member has seen; 0 before the first. */
  readonly epoch: number;
  /** Index of the newest entry that the tables include. */
  readonly applied: number;
}

export function readMeta(database: Connection): Meta {
  const rows = database.prepare('SELECT name, value FROM meta').raw().all() as [string, Buffer][];
  const values = Object.fromEntries(rows.map(([name, value]) => [name, decode(value)]));
  return { epoch: 0, applied: 0, ...values } as Meta;
}

/** Columns of the log, named as in an `Entry`. */
export const ENTRY_COLUMNS = 'idx AS "index", epoch, time, mutation, changesHash, hash';

/** Name of a state table in the database. */
export function tableOf(name: string): string {
  return `state_${name}`;
}
