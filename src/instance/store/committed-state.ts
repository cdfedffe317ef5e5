// Committed state as the serving thread reads it: the newest changes in memory until the writer has them on disk,
// then the database, with a bounded cache in front.
//
// Invariants: a record in `recent` is newer than the database's; a cached record equals what the database or `recent`
// holds; counts include `recent`. The writer changes the database at any time, but only in what `recent` holds: two
// reads in one turn agree on everything else.
import type { Statement } from 'better-sqlite3';
import { LRUCache } from 'lru-cache';
import { assert } from '../../values/assert.js';
import { decode } from '../../values/cbor.js';
import { tableOf, type Connection } from './database.js';

/**
 * Records kept in memory, of each table for itself: a walk through all versions must not drive out the keys, which are
 * read with every request. At a few kilobytes each, some tens of megabytes at most.
 */
const CACHED_RECORDS = 10_000;

/** A record put in place of whatever has that id, or removed. */
export interface RecordChange {
  readonly table: string;
  readonly id: string;
  readonly value: object | null;
}

interface Recent {
  readonly index: number;
  readonly record: object | null;
}

interface TableReader {
  readonly get: Statement;
  readonly idsAfter: Statement;
  readonly countStored: Statement;
  readonly recent: Map<string, Recent>;
  readonly cache: LRUCache<string, { readonly record: object | null }>;
  /** Undefined until it is asked for: counting reads every id, and most tables are never counted. */
  count: number | undefined;
}

/** `Tables` gives the type of the records by name of their table. */
export class CommittedState<Tables extends object> {
  readonly #tables: ReadonlyMap<string, TableReader>;
  readonly #database: Connection;

  constructor(database: Connection, tables: readonly string[]) {
    const reader = (name: string): TableReader => {
      const table = tableOf(name);
      return {
        get: database.prepare(`SELECT record FROM ${table} WHERE id = ?`).pluck(),
        idsAfter: database.prepare(`SELECT id FROM ${table} WHERE id > ? ORDER BY id LIMIT ?`).pluck(),
        countStored: database.prepare(`SELECT count(*) FROM ${table}`).pluck(),
        recent: new Map(),
        cache: new LRUCache({ max: CACHED_RECORDS }),
        count: undefined,
      };
    };
    this.#tables = new Map(tables.map((name) => [name, reader(name)]));
    this.#database = database;
  }

  get<T extends keyof Tables & string>(table: T, id: string): Tables[T] | undefined {
    return this.#record(this.#reader(table), id) as Tables[T] | undefined;
  }

  count(table: keyof Tables & string): number {
    const reader = this.#reader(table);
    reader.count ??= this.#counted(reader);
    return reader.count;
  }

  range<T extends keyof Tables & string>(
    table: T,
    after: string,
    limit: number,
  ): [id: string, record: Tables[T]][] {
    const reader = this.#reader(table);
    const own = [...reader.recent].filter(([id]) => id > after);
    // The ids alone: they lie together in the index, and most of the records are at hand already.
    const ids = new Set(reader.idsAfter.all(after, limit + own.length) as string[]);
    for (const [id, { record }] of own) {
      if (record === null) ids.delete(id);
      else ids.add(id);
    }
    const sorted = own.length === 0 ? [...ids] : [...ids].sort((a, b) => (a < b ? -1 : 1));
    return sorted.slice(0, limit).map((id) => {
      const record = this.#record(reader, id);
      assert(record !== undefined, 'an id in a range has a record');
      return [id, record as Tables[T]];
    });
  }

  /**
   * Up to `count` records of those that are on the disk, spread over all of them.
   * @param random numbers from 0 up to 1.
   */
  sample<T extends keyof Tables & string>(table: T, count: number, random: () => number): Tables[T][] {
    const name = tableOf(table);
    const last = this.#database.prepare(`SELECT max(rowid) FROM ${name}`).pluck().get() as number | null;
    // Rows are numbered as they came: some numbers are missing, and a search for the next costs nothing.
    const next = this.#database.prepare(`SELECT id FROM ${name} WHERE rowid >= ? LIMIT 1`).pluck();
    const ids = new Set<string>();
    for (let place = 0; place < count; place += 1) {
      const id = next.get(1 + Math.floor(((place + random()) / count) * (last ?? 0))) as string | undefined;
      if (id !== undefined) ids.add(id);
    }
    return [...ids].map((id) => this.get(table, id)).filter((record) => record !== undefined);
  }

  /** Makes the changes of entry `index` visible. */
  apply(index: number, changes: readonly RecordChange[]): void {
    for (const { table, id, value } of changes) {
      const reader = this.#reader(table);
      if (reader.count !== undefined) {
        const before = this.#record(reader, id) === undefined ? 0 : 1;
        reader.count += (value === null ? 0 : 1) - before;
      }
      reader.recent.set(id, { index, record: value });
      reader.cache.set(id, { record: value });
    }
  }

  /** The database holds everything through entry `index`. */
  flushed(index: number): void {
    for (const { recent } of this.#tables.values()) {
      for (const [id, change] of recent) if (change.index <= index) recent.delete(id);
    }
  }

  #record({ cache, recent, get }: TableReader, id: string): object | undefined {
    const cached = cache.get(id);
    if (cached) return cached.record ?? undefined;
    let record = recent.get(id)?.record;
    if (record === undefined) {
      const bytes = get.get(id) as Buffer | undefined;
      record = bytes ? (decode(bytes) as object) : null;
    }
    cache.set(id, { record });
    return record ?? undefined;
  }

  // In one transaction: in between, the writer may bring to the tables what is still `recent` here.
  #counted({ countStored, get, recent }: TableReader): number {
    return this.#database.transaction(() => {
      let count = countStored.get() as number;
      for (const [id, { record }] of recent) {
        count += (record === null ? 0 : 1) - (get.get(id) === undefined ? 0 : 1);
      }
      return count;
    })();
  }

  #reader(table: string): TableReader {
    const reader = this.#tables.get(table);
    assert(reader !== undefined, 'the store was opened with this table');
    return reader;
  }
}
