// Makes a store of a snapshot: a worker thread, for a file that counts for nothing before it has been finished and put
// into place. What it writes in between is not synced: a draft that was cut off is thrown away.
import { closeSync, fsyncSync, openSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { assert, unreachable } from '../../values/assert.js';
import { wipe } from '../../values/bytes.js';
import { decode, encode } from '../../values/cbor.js';
import type { Entry } from '../../values/entry.js';
import type { WorkerReply } from './ask-worker.js';
import { openDatabase, tableOf, type Connection } from './database.js';
import type { SnapshotRow } from './snapshot-reader.js';
import { StateDigest } from './state-digest.js';

export interface SnapshotWriterData {
  /** Of the draft; there is nothing at this path. */
  readonly path: string;
  readonly key: Uint8Array;
  readonly tables: readonly string[];
  readonly base: Entry | undefined;
  /** Highest epoch of a view that this member has seen. */
  readonly epoch: number;
}

export type SnapshotWrite =
  | { readonly kind: 'page'; readonly page: Uint8Array }
  /** Nothing is missing: the draft becomes a whole store if this is its digest. */
  | { readonly kind: 'finish'; readonly digest: string };

const { path, key, tables, base, epoch } = workerData as SnapshotWriterData;
const port = parentPort;
assert(port !== null, 'the writer runs in a worker thread');
const digest = new StateDigest();
let database: Connection | undefined;

function begin(): void {
  try {
    database = openDatabase(path, key, { readonly: false, tables });
  } finally {
    wipe(key);
  }
  database.pragma('synchronous=OFF');
}

function take(to: Connection, page: Uint8Array): void {
  const rows = decode(page) as SnapshotRow[];
  const inserts = new Map(
    tables.map((name) => [name, to.prepare(`INSERT INTO ${tableOf(name)} (id, record) VALUES (?, ?)`)]),
  );
  to.transaction(() => {
    for (const [table, id, record] of rows) {
      const insert = inserts.get(table);
      if (!insert) throw new Error(`this build does not know the table ${table}`);
      insert.run(id, record);
      digest.add(table, id, record);
    }
  })();
}

function finish(to: Connection, expected: string): void {
  if (digest.end() !== expected) throw new Error('the records are not those that the donor has');
  to.pragma('synchronous=FULL');
  to.transaction(() => {
    if (base) {
      to.prepare(
        'INSERT INTO log (idx, epoch, time, mutation, changesHash, hash) VALUES (?, ?, ?, ?, ?, ?)',
      ).run(base.index, base.epoch, base.time, base.mutation, base.changesHash, base.hash);
    }
    const setMeta = to.prepare('INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)');
    setMeta.run('applied', encode(base?.index ?? 0));
    setMeta.run('epoch', encode(epoch));
  })();
  to.pragma('wal_checkpoint(TRUNCATE)');
  to.close();
  const file = openSync(path, 'r+');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function reply(work: () => void): void {
  let said: WorkerReply<null> = { answer: null };
  try {
    work();
  } catch (error) {
    said = { error: error instanceof Error ? error.message : String(error) };
  }
  port?.postMessage(said);
}

port.on('message', (write: SnapshotWrite) => {
  reply(() => {
    assert(database !== undefined, 'the draft is open');
    switch (write.kind) {
      case 'page':
        take(database, write.page);
        break;
      case 'finish':
        finish(database, write.digest);
        break;
      default:
        unreachable(write);
    }
  });
});
reply(begin);
