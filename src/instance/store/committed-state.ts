// Committed state as the serving thread reads it: the newest changes in memory until the writer has them on disk,
// then the database, with a bounded cache in front.
//
// Invariants: a record in `recent` is newer than the database's; a cached record equals what the database or `recent`
// holds; counts include `recent`.
import type { Statement } from 'better-sqlite3';
import { LRUCache } from 'lru-cache';
import { assert } from '../../values/assert.js';
import { decode } from '../../values/cbor.js';
import { tableOf, type Connection } from './database.js';

/** Records kept in memory; at a few kilobytes each, some tens of megabytes at most. */
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
  readonly range: Statement;
  readonly recent: Map<string, Recent>;
  count: number;
}

/** `Tables` gives the type of the records by name of their table. */
export class CommittedState<Tables extends object> {
  readonly #tables: ReadonlyMap<string, TableReader>;
  readonly #cache = new LRUCache<string, { readonly record: object | null }>({ max: CACHED_RECORDS });

  constructor(database: Connection, tables: readonly string[]) {
    const reader = (name: string): TableReader => {
      const table = tableOf(name);
      return {
        get: database.prepare(`SELECT record FROM ${table} WHERE id = ?`).pluck(),
        range: database.prepare(`SELECT id, record FROM ${table} WHERE id > ? ORDER BY id LIMIT ?`),
        recent: new Map(),
        count: database.prepare(`SELECT count(*) FROM ${table}`).pluck().get() as number,
      };
    };
    this.#tables = new Map(tables.map((name) => [name, reader(name)]));
  }

  get<T extends keyof Tables & string>(table: T, id: string): Tables[T] | undefined {
    const key = `${table} ${id}`;
    const cached = this.#cache.get(key);
    if (cached) return (cached.record ?? undefined) as Tables[T] | undefined;
    const { recent, get } = this.#reader(table);
    let record = recent.get(id)?.record;
    if (record === undefined) {
      const bytes = get.get(id) as Buffer | undefined;
      record = bytes ? (decode(bytes) as object) : null;
    }
    this.#cache.set(key, { record });
    return (record ?? undefined) as Tables[T] | undefined;
  }

  count(table: keyof Tables & string): number {
    return this.#reader(table).count;
  }

  range<T extends keyof Tables & string>(
    table: T,
    after: string,
    limit: number,
  ): [id: string, record: Tables[T]][] {
    const { recent, range } = this.#reader(table);
    const own = [...recent].filter(([id]) => id > after);
    const rows = range.all(after, limit + own.length) as { id: string; record: Buffer }[];
    const merged = new Map<string, object>(rows.map(({ id, record }) => [id, decode(record) as object]));
    for (const [id, { record }] of own) {
      if (record === null) merged.delete(id);
      else merged.set(id, record);
    }
    const sorted = [...merged].sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, limit);
    return sorted as [string, Tables[T]][];
  }

  /** Makes the changes of entry `index` visible. */
  apply(index: number, changes: readonly RecordChange[]): void {
    for (const { table, id, value } of changes) {
      const reader = this.#reader(table);
      const before = this.get(table as keyof Tables & string, id) === undefined ? 0 : 1;
      reader.count += (value === null ? 0 : 1) - before;
      reader.recent.set(id, { index, record: value });
      this.#cache.set(`${table} ${id}`, { record: value });
    }
  }

  /** The database holds everything through entry `index`. */
  flushed(index: number): void {
    for (const { recent } of this.#tables.values()) {
      for (const [id, change] of recent) if (change.index <= index) recent.delete(id);
    }
  }

  #reader(table: string): TableReader {
    const reader = this.#tables.get(table);
    assert(reader !== undefined, 'the store was opened with this table');
    return reader;
  }
}
