// What a pool remembers, as tables of records, and what may be said of a change to it. Knows no disk: the store
// gives the same interface over SQLite, tests over maps, and the undecided tail as a layer over either.
import type { Job } from './jobs/records.js';
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
  /** Backups and restores by id: the one that runs, if any, and the newest of those that ended. */
  jobs: Job;
  // What a restore has brought so far; empty unless one runs.
  stagedKeys: Key;
  stagedDeleted: DeletedKey;
  stagedVersions: KeyVersion;
  stagedDue: Due;
  stagedAssignments: Assignment;
  stagedGrants: Grants;
  stagedAssignedAt: AssignedAt;
  stagedDefinitions: RoleDefinition;
}

/** The tables that a full restore replaces, each with the one in which its records are gathered before. */
export const stagedFor = {
  keys: 'stagedKeys',
  deleted: 'stagedDeleted',
  versions: 'stagedVersions',
  due: 'stagedDue',
  assignments: 'stagedAssignments',
  grants: 'stagedGrants',
  assignedAt: 'stagedAssignedAt',
  definitions: 'stagedDefinitions',
} as const satisfies Partial<Record<keyof Tables, keyof Tables>>;

export type RestoredTable = keyof typeof stagedFor;
export type StagedTable = (typeof stagedFor)[RestoredTable];

export const restoredTables = Object.keys(stagedFor) as readonly RestoredTable[];
export const stagedTables: readonly StagedTable[] = Object.values(stagedFor);

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
  'jobs',
  ...stagedTables,
];

/** A record put in place of whatever has that id, or removed. */
export type RecordChange = {
  [T in TableName]: { readonly table: T; readonly id: string; readonly value: Tables[T] | null };
}[TableName];

/**
 * A change of all records at once: each first table takes the records of the second in place of its own, and the second
 * is empty then. What stands before it in a list of changes happens before, what stands after it after.
 */
export interface Switch {
  readonly table: '*';
  readonly id: '';
  readonly value: null;
  readonly switched: readonly (readonly [table: TableName, staged: TableName])[];
}

export type Change = RecordChange | Switch;

/** The switch from what a pool holds to what was staged for it. */
export const SWITCH: Switch = {
  table: '*',
  id: '',
  value: null,
  switched: restoredTables.map((table) => [table, stagedFor[table]] as const),
};

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

/** Nothing at all: the base under a state that lives in memory. */
export const emptyState: State = {
  get: () => undefined,
  count: () => 0,
  range: () => [],
};

/** What an overlay holds of one table. */
interface Layer {
  readonly records: Map<string, object | null>;
  /** The table of the base that shows through; none once the table was emptied by a switch. */
  readonly base: TableName | undefined;
  /** How many records more than the base's. */
  more: number;
}

/**
 * A state with changes on top of another that stays as it is: the undecided tail over committed state, or a whole state
 * over {@link emptyState}.
 */
export class Overlay implements State {
  readonly #base: State;
  /** Of the tables that differ from the base's. */
  readonly #layers = new Map<TableName, Layer>();

  constructor(base: State) {
    this.#base = base;
  }

  get<T extends TableName>(table: T, id: string): Tables[T] | undefined {
    const layer = this.#layers.get(table);
    if (!layer) return this.#base.get(table, id);
    const own = layer.records.get(id);
    if (own !== undefined) return (own as Tables[T] | null) ?? undefined;
    return layer.base === undefined ? undefined : (this.#base.get(layer.base, id) as Tables[T] | undefined);
  }

  count(table: TableName): number {
    const { base, more } = this.#layers.get(table) ?? { base: table, more: 0 };
    return (base === undefined ? 0 : this.#base.count(base)) + more;
  }

  range<T extends TableName>(table: T, after: string, limit: number): [id: string, record: Tables[T]][] {
    const layer = this.#layers.get(table);
    if (!layer) return this.#base.range(table, after, limit);
    const own = [...layer.records].filter(([id]) => id > after);
    const below = layer.base === undefined ? [] : this.#base.range(layer.base, after, limit + own.length);
    if (own.length === 0) return below.slice(0, limit) as [string, Tables[T]][];
    const merged = new Map<string, object>(below);
    for (const [id, record] of own) {
      if (record === null) merged.delete(id);
      else merged.set(id, record);
    }
    const sorted = [...merged].sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, limit);
    return sorted as [string, Tables[T]][];
  }

  apply(changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.table === '*') {
        this.#switch(change);
        continue;
      }
      const { table, id, value } = change;
      const before = this.get(table, id) === undefined ? 0 : 1;
      const layer = this.#layer(table);
      layer.records.set(id, value);
      layer.more += (value === null ? 0 : 1) - before;
    }
  }

  #switch({ switched }: Switch): void {
    for (const [table, staged] of switched) {
      this.#layers.set(table, this.#layer(staged));
      this.#layers.set(staged, { records: new Map(), base: undefined, more: 0 });
    }
  }

  #layer(table: TableName): Layer {
    let layer = this.#layers.get(table);
    if (!layer) {
      layer = { records: new Map(), base: table, more: 0 };
      this.#layers.set(table, layer);
    }
    return layer;
  }
}
