// Snapshots: the whole state of a store, read page by page while it is written on, and taken into a new store
// elsewhere. What is in a page only the two worker threads know.
//
// Invariant: at the path of a store there is a whole store or none. A draft becomes one by a rename, after everything
// in it is on the disk.
import { open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { assert } from '../../values/assert.js';
import { wipe } from '../../values/bytes.js';
import type { Entry } from '../../values/entry.js';
import { AskedWorker } from './ask-worker.js';
import type { SnapshotQuestion, SnapshotReaderData, SnapshotReading } from './snapshot-reader.js';
import type { SnapshotWrite, SnapshotWriterData } from './snapshot-writer.js';

/** A page is as large as its last record makes it above that. */
const PAGE_BYTES = 1_048_576;

/** A part of the state, or, when all of it was given, its digest in lower-case hex. */
export type SnapshotPart =
  | { readonly kind: 'page'; readonly page: Uint8Array; readonly records: number }
  | { readonly kind: 'end'; readonly digest: string };

export interface Snapshot {
  /** The entry that the state includes last; undefined for the state before the first entry. */
  readonly base: Entry | undefined;
  /** How many there are in all pages. */
  readonly records: number;
  next(): Promise<SnapshotPart>;
  /** In place of the pages: SHA-256 over all records, lower-case hex. */
  digest(): Promise<string>;
  /** What is being read is given up. May be called again. */
  close(): Promise<void>;
}

/**
 * Begins to read the store at `path`, which is open elsewhere.
 * @param key stays with the caller.
 */
export async function openSnapshot(
  path: string,
  key: Uint8Array,
  tables: readonly string[],
): Promise<Snapshot> {
  const data: SnapshotReaderData = { path, key: Uint8Array.from(key), tables, pageBytes: PAGE_BYTES };
  const reader = startWorker<SnapshotQuestion, SnapshotReading>('snapshot-reader.js', data);
  let closed = false;
  const close = async () => {
    if (closed) return;
    closed = true;
    // Asked to, not ended: SQLite's locks on the file are given back by closing.
    await reader.ask('close').catch(() => undefined);
    await reader.end();
  };
  const begun = await reader.first().catch(async (error: unknown) => {
    await reader.end();
    throw error;
  });
  assert(begun.kind === 'begun', 'the reader begins first');
  return {
    base: begun.base,
    records: begun.records,
    next: async () => {
      const part = await reader.ask('page');
      assert(part.kind === 'page' || part.kind === 'end', 'a page follows, or there is none left');
      return part;
    },
    digest: async () => {
      const end = await reader.ask('digest');
      assert(end.kind === 'end', 'the end follows');
      return end.digest;
    },
    close,
  };
}

/**
 * Makes a new store, with an id of its own, beside the one at `path`: a draft until {@link installSnapshot}. A draft
 * that was there before is removed; nothing is left when this rejects.
 * @param key 32 bytes; wiped before this settles.
 * @param epoch highest epoch of a view that this member has seen.
 * @throws when the pages are not what the digest at their end says, or hold a table that is not in `tables`.
 */
export async function importSnapshot(
  path: string,
  key: Uint8Array,
  tables: readonly string[],
  { base, epoch }: { readonly base: Entry | undefined; readonly epoch: number },
  next: () => Promise<SnapshotPart>,
): Promise<void> {
  const draft = draftOf(path);
  await removeDraft(path);
  const data: SnapshotWriterData = { path: draft, key: Uint8Array.from(key), tables, base, epoch };
  wipe(key);
  const writer = startWorker<SnapshotWrite, null>('snapshot-writer.js', data);
  try {
    await writer.first();
    for (let part = await next(); ; part = await next()) {
      if (part.kind === 'page') {
        await writer.ask({ kind: 'page', page: part.page });
        continue;
      }
      await writer.ask({ kind: 'finish', digest: part.digest });
      break;
    }
    await writer.end();
  } catch (error) {
    await writer.end();
    await removeDraft(path);
    throw error;
  }
}

/** Puts the draft in the place of the store, which is closed. */
export async function installSnapshot(path: string): Promise<void> {
  // One after the other: what SQLite keeps beside a file must never be found beside another.
  await removeStore(path);
  await syncDirectory(dirname(path));
  await rename(draftOf(path), path);
  await syncDirectory(dirname(path));
}

/** Removes a store that is closed, and all that belongs to it, whatever of it there is. */
export async function removeStore(path: string): Promise<void> {
  for (const suffix of ['', '-wal', '-shm', '-journal']) await rm(`${path}${suffix}`, { force: true });
}

/** Removes what an import has left that was cut off. */
export function removeDraft(path: string): Promise<void> {
  return removeStore(draftOf(path));
}

function draftOf(path: string): string {
  return `${path}.joining`;
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path);
  await directory.sync().finally(() => directory.close());
}

// Started with a copy of the key, which the worker wipes; this side's copy is wiped here.
function startWorker<Q, A>(file: string, data: SnapshotReaderData | SnapshotWriterData): AskedWorker<Q, A> {
  const name = file.replace('.js', '');
  const worker = new Worker(join(__dirname, file), { workerData: data, env: {}, name });
  wipe(data.key);
  return new AskedWorker<Q, A>(worker, `the ${name.replace('-', ' ')} has failed`);
}
