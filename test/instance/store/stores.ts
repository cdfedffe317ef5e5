// Stores in directories of their own, and entries to put into them.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDatabase } from '../../../src/instance/store/database.js';
import { Store } from '../../../src/instance/store/store.js';
import { EMPTY_HEAD, type Entry, type Head } from '../../../src/values/entry.js';
import { chain } from '../../../src/instance/replication/entry.js';

export interface Note {
  readonly text: string;
}

/** Tables of a small state. */
export interface Notes {
  notes: Note;
  others: Note;
}

export const tables: readonly (keyof Notes)[] = ['notes', 'others'];
/** Every opening wipes its key. */
export const key = (): Buffer => Buffer.alloc(32, 7);

const directories: string[] = [];

export function makePlace(): string {
  const directory = mkdtempSync(join(tmpdir(), 'trivet-store-'));
  directories.push(directory);
  return join(directory, 'state.sqlite');
}

export function removePlaces(): void {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
}

export function openStore(path: string, full?: () => boolean): Promise<Store<Notes>> {
  return Store.open<Notes>(path, key(), tables, full);
}

/** `count` entries that follow `head`. */
export function entriesAfter(head: Head, count: number, content = 'entry'): Entry[] {
  const entries: Entry[] = [];
  let last = head;
  for (let place = 0; place < count; place += 1) {
    const entry = chain(last, {
      epoch: 1,
      time: 1_800_000_000 + last.index,
      mutation: Buffer.from(`${content} ${last.index + 1}`),
      changesHash: Buffer.alloc(32, 1),
    });
    entries.push(entry);
    last = entry;
  }
  return entries;
}

export const entries = (count: number): Entry[] => entriesAfter(EMPTY_HEAD, count);

export function put(id: string, text: string) {
  return { table: 'notes', id, value: { text } } as const;
}

/** What the file itself says, past the store: the applied index, and the notes. */
export function readFile(path: string): { applied: number; notes: string[]; log: number[] } {
  const database = openDatabase(path, key(), { readonly: true });
  try {
    const count = (sql: string) => database.prepare(sql).pluck().all();
    return {
      applied:
        count("SELECT hex(value) FROM meta WHERE name = 'applied'").map((hex) =>
          cborNumber(String(hex)),
        )[0] ?? 0,
      notes: count('SELECT id FROM state_notes ORDER BY id').map(String),
      log: count('SELECT idx FROM log ORDER BY idx').map(Number),
    };
  } finally {
    database.close();
  }
}

// An unsigned CBOR integer (RFC 8949 section 3.1).
function cborNumber(hex: string): number {
  return hex.length === 2 ? parseInt(hex, 16) : parseInt(hex.slice(2), 16);
}

/** Waits until it is so. */
export async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 2));
}
