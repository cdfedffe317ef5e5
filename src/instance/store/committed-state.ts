// Committed state as the serving thread reads it: the newest changes in memory until the writer has them on disk,
// then the database, with a bounded cache in front.
//
// Invariants: a record in `recent` is newer than the database's; a cached record equals what the database or `recent`
// holds; counts include `recent`. The writer changes the database at any time, but only in what `recent` holds: two
// reads in one turn agree on everything else. The one change of more than that is a switch of tables: until the writer
// has made it, each read of such a table sees in its own transaction whether it has, and asks the table that now holds
// what is meant.
import type { Statement } from 'better-sqlite3';
import { LRUCache } from 'lru-cache';
import { assert } from '../../values/assert.js';
import { decode } from '../../values/cbor.js';
import { readMeta, tableOf, type Connection } from './database.js';

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
  /**
   * Instead: each first table takes all records of the second in place of its own, and the second is empty then. Nothing
   * else of such a change counts.
   */
  readonly switched?: readonly (readonly [table: string, staged: string])[];
}

interface Recent {
  readonly index: number;
  readonly record: object | null;
}

/** One table of the database. */
interface Stored {
  record(id: string): Buffer | undefined;
  ids(after: string, limit: number): string[];
  count(): number;
}

interface TableReader {
  stored: Stored;
  readonly recent: Map<string, Recent>;
  readonly cache: LRUCache<string, { readonly record: object | null }>;
  /** Undefined until it is asked for: counting reads every id, and most tables are never counted. */
  count: number | undefined;
}

const NOTHING: Stored = { record: () => undefined, ids: () => [], count: () => 0 };

/** `Tables` gives the type of the records by name of their table. */
export class CommittedState<Tables extends object> {
  readonly #tables: Map<string, TableReader>;
  /** The tables of the database as they are called there. */
  readonly #stored: ReadonlyMap<string, Stored>;
  readonly #database: Connection;
  /** Entry with a switch that the database may not have made yet. */
  #switching: number | undefined;

  constructor(database: Connection, tables: readonly string[]) {
    this.#stored = new Map(tables.map((name) => [name, storedTable(database, name)]));
    this.#tables = new Map([...this.#stored].map(([name, stored]) => [name, emptyReader(stored)]));
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
    const ids = new Set(reader.stored.ids(after, limit + own.length));
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
    for (const { table, id, value, switched } of changes) {
      if (switched) {
        this.#switch(index, switched);
        continue;
      }
      const reader = this.#reader(table);
      if (reader.count !== undefined) {
        const before = isThere(reader, id) ? 1 : 0;
        reader.count += (value === null ? 0 : 1) - before;
      }
      reader.recent.set(id, { index, record: value });
      // What nobody has read may be read by nobody: a restore writes as much again as the pool holds.
      if (reader.cache.has(id)) reader.cache.set(id, { record: value });
    }
  }

  /** The database holds everything through entry `index`. */
  flushed(index: number): void {
    if (this.#switching !== undefined && index >= this.#switching) {
      this.#switching = undefined;
      for (const [name, reader] of this.#tables) reader.stored = this.#stored.get(name) ?? reader.stored;
    }
    for (const { recent } of this.#tables.values()) {
      for (const [id, change] of recent) if (change.index <= index) recent.delete(id);
    }
  }

  // Caches and what is not written yet go with the records that they are of.
  #switch(index: number, switched: NonNullable<RecordChange['switched']>): void {
    assert(this.#switching === undefined, 'a switch is on the disk before anything is staged for the next');
    this.#switching = index;
    for (const [name, staged] of switched) {
      const [own, other] = [this.#stored.get(name), this.#stored.get(staged)];
      assert(own !== undefined && other !== undefined, 'the store was opened with both tables');
      this.#tables.set(name, { ...this.#reader(staged), stored: this.#either(index, own, other) });
      this.#tables.set(staged, emptyReader(this.#either(index, other, NOTHING)));
    }
  }

  // `after` once the database has made the switch of this entry, `before` until then; in one transaction with the read.
  #either(index: number, after: Stored, before: Stored): Stored {
    const now = <T>(read: (stored: Stored) => T): T =>
      this.#database.transaction(() => read(readMeta(this.#database).applied >= index ? after : before))();
    return {
      record: (id) => now((stored) => stored.record(id)),
      ids: (from, limit) => now((stored) => stored.ids(from, limit)),
      count: () => now((stored) => stored.count()),
    };
  }

  #record({ cache, recent, stored }: TableReader, id: string): object | undefined {
    const cached = cache.get(id);
    if (cached) return cached.record ?? undefined;
    let record = recent.get(id)?.record;
    if (record === undefined) {
      const bytes = stored.record(id);
      record = bytes ? (decode(bytes) as object) : null;
    }
    cache.set(id, { record });
    return record ?? undefined;
  }

  // In one transaction: in between, the writer may bring to the tables what is still `recent` here.
  #counted({ stored, recent }: TableReader): number {
    return this.#database.transaction(() => {
      let count = stored.count();
      for (const [id, { record }] of recent) {
        count += (record === null ? 0 : 1) - (stored.record(id) === undefined ? 0 : 1);
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

function storedTable(database: Connection, name: string): Stored {
  const table = tableOf(name);
  const get: Statement = database.prepare(`SELECT record FROM ${table} WHERE id = ?`).pluck();
  const idsAfter: Statement = database
    .prepare(`SELECT id FROM ${table} WHERE id > ? ORDER BY id LIMIT ?`)
    .pluck();
  const count: Statement = database.prepare(`SELECT count(*) FROM ${table}`).pluck();
  return {
    record: (id) => get.get(id) as Buffer | undefined,
    ids: (after, limit) => idsAfter.all(after, limit) as string[],
    count: () => count.get() as number,
  };
}

/** Without keeping it in memory. */
function isThere({ cache, recent, stored }: TableReader, id: string): boolean {
  const known = cache.peek(id) ?? recent.get(id);
  return known ? known.record !== null : stored.record(id) !== undefined;
}

function emptyReader(stored: Stored): TableReader {
  return { stored, recent: new Map(), cache: new LRUCache({ max: CACHED_RECORDS }), count: undefined };
}
