// Reads one snapshot: a worker thread with a connection and a read transaction of its own, so that what it reads stays
// as it was when it began while the writer goes on, and so that half a million records hold up nobody.
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../../values/assert.js';
import { wipe } from '../../values/bytes.js';
import { encode } from '../../values/cbor.js';
import type { Entry } from '../../values/entry.js';
import type { WorkerReply } from './ask-worker.js';
import { ENTRY_COLUMNS, openDatabase, readMeta, tableOf, type Connection } from './database.js';
import { StateDigest } from './state-digest.js';

export interface SnapshotReaderData {
  readonly path: string;
  readonly key: Uint8Array;
  /** Names of the state's tables. */
  readonly tables: readonly string[];
  /** Bytes of records after which a page ends. */
  readonly pageBytes: number;
}

/** The next page, or the digest of all that no page has held. */
export type SnapshotQuestion = 'page' | 'digest' | 'close';

export type SnapshotReading =
  | {
      readonly kind: 'begun';
      /** The entry that the tables include last; undefined when they are empty since nothing was ever committed. */
      readonly base: Entry | undefined;
      /** Of all tables. */
      readonly records: number;
    }
  | { readonly kind: 'page'; readonly page: Uint8Array; readonly records: number }
  | { readonly kind: 'end'; readonly digest: string }
  | { readonly kind: 'closed' };

/** What a page holds, encoded. */
export type SnapshotRow = readonly [table: string, id: string, record: Uint8Array];

const { path, key, tables, pageBytes } = workerData as SnapshotReaderData;
const port = parentPort;
assert(port !== null, 'the reader runs in a worker thread');
const digest = new StateDigest();
let rows: Generator<SnapshotRow, void> | undefined;
let database: Connection | undefined;

function begin(): SnapshotReading {
  try {
    database = openDatabase(path, key, { readonly: true, once: true });
  } finally {
    wipe(key);
  }
  database.exec('BEGIN');
  const { applied } = readMeta(database);
  const base = database.prepare(`SELECT ${ENTRY_COLUMNS} FROM log WHERE idx = ?`).get(applied);
  assert(applied === 0 || base !== undefined, 'the log holds the entry that was applied last');
  let records = 0;
  for (const name of tables) {
    records += database
      .prepare(`SELECT count(*) FROM ${tableOf(name)}`)
      .pluck()
      .get() as number;
  }
  rows = readAll(database);
  return { kind: 'begun', base: base as Entry | undefined, records };
}

function* readAll(from: Connection): Generator<SnapshotRow, void> {
  const inOrder = [...tables].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  for (const table of inOrder) {
    const select = from.prepare(`SELECT id, record FROM ${tableOf(table)} ORDER BY id`).raw();
    for (const [id, record] of select.iterate() as IterableIterator<[string, Buffer]>) {
      digest.add(table, id, record);
      yield [table, id, record];
    }
  }
}

function nextPage(): SnapshotReading {
  const page: SnapshotRow[] = [];
  let bytes = 0;
  while (bytes < pageBytes) {
    const row = rows?.next();
    if (!row || row.done) break;
    page.push(row.value);
    bytes += row.value[1].length + row.value[2].length;
  }
  if (page.length === 0) return { kind: 'end', digest: digest.end() };
  // A copy: what is encoded lies in a larger buffer, all of which would be sent.
  return { kind: 'page', page: Uint8Array.from(encode(page)), records: page.length };
}

function readToEnd(): SnapshotReading {
  while (rows?.next().done === false);
  return { kind: 'end', digest: digest.end() };
}

function close(): SnapshotReading {
  rows?.return();
  database?.close();
  return { kind: 'closed' };
}

function reply(read: () => SnapshotReading): void {
  let said: WorkerReply<SnapshotReading>;
  try {
    said = { answer: read() };
  } catch (error) {
    said = { error: error instanceof Error ? error.message : String(error) };
  }
  // Given away, not copied: a large state is read in many pages, and copies of them would lie about.
  const pageOf = 'answer' in said && said.answer.kind === 'page' ? said.answer.page : undefined;
  port?.postMessage(said, pageOf ? [pageOf.buffer as ArrayBuffer] : []);
}

port.on('message', (question: SnapshotQuestion) => {
  switch (question) {
    case 'page':
      reply(nextPage);
      break;
    case 'digest':
      reply(readToEnd);
      break;
    case 'close':
      reply(close);
      port.close();
      break;
  }
});
reply(begin);
