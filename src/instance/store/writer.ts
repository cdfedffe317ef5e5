// The store's writer: a worker thread, because a slow fsync on the event loop would stop everything else the instance
// does. Takes one batch at a time and answers when it is on the disk.
import { parentPort, workerData } from 'node:worker_threads';
import { encode } from '../../values/cbor.js';
import { assert } from '../../values/assert.js';
import { wipe } from '../../values/bytes.js';
import { openDatabase, tableOf, type Connection } from './database.js';
import type { Entry } from '../../values/entry.js';

/** A record already encoded; null removes it. */
export type RecordWrite = readonly [table: string, id: string, record: Uint8Array | null];

/** The records of each second table take the place of those of the first. */
export interface TablesSwitched {
  readonly switched: readonly (readonly [table: string, staged: string])[];
}

export type StateWrite = RecordWrite | TablesSwitched;

/** What becomes durable together, in this order. */
export interface Batch {
  /** Entries from this index on are removed first. */
  readonly cutFrom?: number;
  readonly append: readonly Entry[];
  readonly writes: readonly StateWrite[];
  /** Index through which `writes` bring the tables. */
  readonly applied: number;
  /** Of a view; nothing is written when there is no newer one. */
  readonly epoch?: number;
  /** Entries at or below this index are dropped from the log. */
  readonly trimThrough: number;
}

export interface WriterData {
  readonly path: string;
  readonly key: Uint8Array;
  /** Names of the state's tables. */
  readonly tables: readonly string[];
}

/** Undefined when the batch is durable, else what went wrong. */
export type WriterAnswer = { readonly error: string } | { readonly error?: undefined };

const { path, key, tables } = workerData as WriterData;
const port = parentPort;
assert(port !== null, 'the writer runs in a worker thread');
const database = openOwn();

// SQLite's errors do not keep their message on the way to another thread; plain ones do.
function openOwn(): Connection {
  try {
    return openDatabase(path, key, { readonly: false, tables });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`the store cannot be opened: ${why}`, { cause: error });
  } finally {
    wipe(key);
  }
}

const setMeta = database.prepare('INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)');
const cut = database.prepare('DELETE FROM log WHERE idx >= ?');
const trim = database.prepare('DELETE FROM log WHERE idx <= ?');
const append = database.prepare(
  'INSERT INTO log (idx, epoch, time, mutation, changesHash, hash) VALUES (?, ?, ?, ?, ?, ?)',
);
const puts = new Map(
  tables.map((name) => [
    name,
    database.prepare(`INSERT OR REPLACE INTO ${tableOf(name)} (id, record) VALUES (?, ?)`),
  ]),
);
const removes = new Map(
  tables.map((name) => [name, database.prepare(`DELETE FROM ${tableOf(name)} WHERE id = ?`)]),
);

// By their names: to copy half a million records would hold up the pool for many seconds.
function switchTables(table: string, staged: string): void {
  database.exec(`
    ALTER TABLE ${table} RENAME TO state_switched;
    ALTER TABLE ${staged} RENAME TO ${table};
    ALTER TABLE state_switched RENAME TO ${staged};
    DELETE FROM ${staged};
  `);
}

const write = database.transaction((batch: Batch) => {
  if (batch.cutFrom !== undefined) cut.run(batch.cutFrom);
  for (const entry of batch.append) {
    append.run(entry.index, entry.epoch, entry.time, entry.mutation, entry.changesHash, entry.hash);
  }
  for (const change of batch.writes) {
    if ('switched' in change) {
      for (const [table, staged] of change.switched) switchTables(tableOf(table), tableOf(staged));
      continue;
    }
    const [table, id, record] = change;
    if (record === null) removes.get(table)?.run(id);
    else puts.get(table)?.run(id, record);
  }
  setMeta.run('applied', encode(batch.applied));
  if (batch.epoch !== undefined) setMeta.run('epoch', encode(batch.epoch));
  if (batch.trimThrough > 0) trim.run(batch.trimThrough);
});

port.on('message', (message: Batch | 'close') => {
  if (message === 'close') {
    database.close();
    port.close();
    return;
  }
  let answer: WriterAnswer = {};
  try {
    write.immediate(message);
  } catch (error) {
    answer = { error: error instanceof Error ? error.message : String(error) };
  }
  port.postMessage(answer);
});
port.postMessage({} satisfies WriterAnswer);
