// What a pool remembers, as tables of records, and what may be said of a change to it. Knows no disk: the store
// gives the same interface over SQLite, tests over maps, and the undecided tail as a layer over either.
import type { Due } from './keys/due.js';
import type { Key, DeletedKey, KeyVersion } from './keys/records.js';
import type { AssignedAt, Assignment, Grants, RoleDefinition } from './rbac/records.js';
import type { Pool, InternalKey } from './pool.js';

/** Each table maps an id to a record. Records are never changed in place: a change brings a new one. */
export interface Tables {
  /** Live keys by name. */
  keys: Key;
  /** Soft-deleted keys by name; a name is in `keys` or in `deleted`, never in both. */
  deleted: DeletedKey;
  /** Versions of live and deleted keys by `{name}/{version}`. */
  versions: KeyVersion;
  /** What is to happen to keys by itself, by time. */
  due: Due;
  /** Role assignments by GUID. */
  assignments: Assignment;
  /** What follows from the assignments, by principal: what a permission check reads. */
  grants: Grants;
  /** What follows from the assignments, by scope: what limits and lists read. */
  assignedAt: AssignedAt;
  /** Custom roles by GUID; the built-in ones are part of the program. */
  definitions: RoleDefinition;
  /** One record, `pool`. */
  pool: Pool;
  /** The pool's own keys by purpose. */
  internal: InternalKey;
  /** Ids of the newest mutations with their index, so that none is taken twice. */
  outcomes: Outcome;
  /** The same ids by slot, to forget the oldest: slot = index modulo {@link OUTCOMES_KEPT}. */
  outcomeSlots: OutcomeSlot;
}

export interface Outcome {
  readonly index: number;
}

export interface OutcomeSlot {
  readonly mutation: string;
}

/** How many mutation ids are remembered. */
export const OUTCOMES_KEPT = 10_000;

export type TableName = keyof Tables;

export const tableNames: readonly TableName[] = [
  'keys',
  'deleted',
  'versions',
  'due',
  'assignments',
  'grants',
  'assignedAt',
  'definitions',
  'pool',
  'internal',
  'outcomes',
  'outcomeSlots',
];

/** A record put in place of whatever has that id, or removed. */
export type Change = {
  [T in TableName]: { readonly table: T; readonly id: string; readonly value: Tables[T] | null };
}[TableName];

/** Read access to the tables. */
export interface State {
  get<T extends TableName>(table: T, id: string): Tables[T] | undefined;
  /** Number of records. */
  count(table: TableName): number;
  /** Up to `limit` records with an id greater than `after`, in ascending order of ids by code unit. */
  range<T extends TableName>(table: T, after: string, limit: number): [id: string, record: Tables[T]][];
}

export function put<T extends TableName>(table: T, id: string, value: Tables[T]): Change {
  return { table, id, value } as Change;
}

export function remove(table: TableName, id: string): Change {
  return { table, id, value: null };
}

type Layers = { [T in TableName]: Map<string, Tables[T] | null> };

function emptyLayers(): Layers {
  return Object.fromEntries(tableNames.map((name) => [name, new Map()])) as unknown as Layers;
}

/** Nothing at all: the base under a state that lives in memory. */
export const emptyState: State = {
  get: () => undefined,
  count: () => 0,
  range: () => [],
};

/**
 * Changes on top of another state. Reading gives the newest; `apply` adds changes. An overlay over
 * {@link emptyState} is a whole state in memory.
 */
export class Overlay implements State {
  readonly #base: State;
  readonly #layers = emptyLayers();
  readonly #countDelta = new Map<TableName, number>();

  constructor(base: State) {
    this.#base = base;
  }

  get<T extends TableName>(table: T, id: string): Tables[T] | undefined {
    const own = this.#layers[table].get(id);
    if (own === undefined) return this.#base.get(table, id);
    return own ?? undefined;
  }

  count(table: TableName): number {
    return this.#base.count(table) + (this.#countDelta.get(table) ?? 0);
  }

  range<T extends TableName>(table: T, after: string, limit: number): [id: string, record: Tables[T]][] {
    const own = [...(this.#layers[table] as Map<string, Tables[T] | null>)].filter(([id]) => id > after);
    if (own.length === 0) return this.#base.range(table, after, limit);
    const merged = new Map(this.#base.range(table, after, limit + own.length));
    for (const [id, record] of own) {
      if (record === null) merged.delete(id);
      else merged.set(id, record);
    }
    return [...merged].sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, limit);
  }

  apply(changes: readonly Change[]): void {
    for (const { table, id, value } of changes) {
      const before = this.get(table, id) === undefined ? 0 : 1;
      const after = value === null ? 0 : 1;
      (this.#layers[table] as Map<string, unknown>).set(id, value);
      this.#countDelta.set(table, (this.#countDelta.get(table) ?? 0) + after - before);
    }
  }
}
