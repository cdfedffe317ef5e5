// The store of one instance: log and state in one sealed file. An entry is prepared once `append` resolves: fsync'd.
// Applied changes are visible at once and reach the tables with a later batch; after a crash in between they are
// still in the log and are decided again.
//
// Invariants: the tables hold exactly the entries through `applied`; the log holds every entry after `applied`
// without a gap. A store has one id for life: another file is another member.
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { assert } from '../../values/assert.js';
import { wipe } from '../../values/bytes.js';
import { encode } from '../../values/cbor.js';
import { CommittedState, type RecordChange } from './committed-state.js';
import { ENTRY_COLUMNS, openDatabase, readMeta, type Connection } from './database.js';
import { EMPTY_HEAD, type Entry, type Head } from '../../values/entry.js';
import { openSnapshot, removeDraft, removeStore, type Snapshot } from './snapshot.js';
import type { Batch, StateWrite, WriterAnswer, WriterData } from './writer.js';

/** Committed entries kept in the log for members that must catch up. */
const LOG_KEPT = 10_000;
/** How long applied changes may wait for company before they are written. */
const FLUSH_DELAY_MS = 20;

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Keeps entries in the log that would be dropped otherwise. */
export interface LogHold {
  /** From here on only what follows this index is kept. Never less than before. */
  advance(index: number): void;
  release(): void;
}

/** `Tables` gives the type of the state's records by name of their table. */
export class Store<Tables extends object> {
  /** Committed state. */
  readonly state: CommittedState<Tables>;
  /** Random, made with the file. */
  readonly id: string;
  readonly #place: { readonly path: string; readonly key: Buffer; readonly tables: readonly string[] };
  /** Whether the disk is to count as full. */
  readonly #full: (() => boolean) | undefined;
  readonly #writer: Worker;
  /** The writer has ended, by itself or because it was told to. */
  readonly #exit: Promise<void>;
  readonly #reader: Connection;
  #applied: number;
  #epoch: number;
  #epochSet: number;
  #cutFrom: number | undefined;
  /** Of the batch that is with the writer. */
  #cutting: number | undefined;
  readonly #holds = new Set<{ after: number }>();
  readonly #snapshots = new Set<Snapshot>();
  #append: Entry[] = [];
  #writes: StateWrite[] = [];
  #waiting: Waiting[] = [];
  #busy = false;
  #timer: NodeJS.Timeout | undefined;
  #failure: Error | undefined;
  #idle: (() => void)[] = [];

  private constructor(
    writer: Worker,
    reader: Connection,
    place: { readonly path: string; readonly key: Buffer; readonly tables: readonly string[] },
    full: (() => boolean) | undefined,
  ) {
    this.#full = full;
    this.#writer = writer;
    this.#exit = new Promise((resolve) => writer.once('exit', () => resolve()));
    this.#reader = reader;
    this.#place = place;
    this.state = new CommittedState(reader, place.tables);
    const { store, epoch, applied } = readMeta(reader);
    this.id = store;
    this.#applied = applied;
    this.#epoch = this.#epochSet = epoch;
  }

  /**
   * Opens or makes the store at `path`.
   * @param key 32 bytes, derived in the slot; wiped before this settles.
   * @param tables every table of the state.
   * @param full whether the disk is to count as full, for tests: what is written then fails as on one that is.
   * @throws when the file cannot be read with this key, or has another format.
   */
  static async open<Tables extends object>(
    path: string,
    key: Uint8Array,
    tables: readonly (keyof Tables & string)[],
    full?: () => boolean,
  ): Promise<Store<Tables>> {
    // Left by a file that was removed just before an end; it must not be taken for a part of the new one.
    if (!existsSync(path)) await removeStore(path);
    await removeDraft(path);
    const data: WriterData = { path, key: Uint8Array.from(key), tables };
    const writer = new Worker(join(__dirname, 'writer.js'), {
      workerData: data,
      env: {},
      name: 'store-writer',
    });
    data.key.fill(0);
    const store = await Store.#beside<Tables>(writer, path, key, tables, full).catch(
      async (error: unknown) => {
        await writer.terminate();
        throw error;
      },
    );
    writer.on('message', (answer: WriterAnswer) => store.#written(answer));
    writer.on('error', (error) => store.#fail(error));
    writer.on('exit', () => store.#fail(new Error('the writer of the store has ended')));
    return store;
  }

  // The store around a writer that is starting.
  static async #beside<Tables extends object>(
    writer: Worker,
    path: string,
    key: Uint8Array,
    tables: readonly string[],
    full: (() => boolean) | undefined,
  ): Promise<Store<Tables>> {
    let reader: Connection | undefined;
    try {
      await once(writer, 'message');
      // SQLite syncs what it writes, not the directory entry of a file that it has just made.
      const directory = await open(dirname(path));
      await directory.sync().finally(() => directory.close());
      reader = openDatabase(path, key, { readonly: true });
      // SQLite holds the key too as long as the file is open; this copy is for the connections of snapshots.
      return new Store<Tables>(writer, reader, { path, key: Buffer.from(key), tables }, full);
    } catch (error) {
      reader?.close();
      throw error;
    } finally {
      key.fill(0);
    }
  }

  /** Index of the newest entry that the tables include. */
  get applied(): number {
    return this.#applied;
  }

  /** Highest epoch of a view that {@link setEpoch} has stored; 0 before the first. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Resolves when the epoch is on the disk. A lower one than before is refused by an assertion. */
  setEpoch(epoch: number): Promise<void> {
    assert(epoch >= this.#epochSet, 'the epoch of a store does not fall');
    this.#epochSet = epoch;
    return this.#flushed();
  }

  /** Index and hash of the entry that the tables include last, and the entries after it in order. For start-up. */
  readLog(): { readonly base: Head & { readonly time: number }; readonly tail: readonly Entry[] } {
    const rows = this.#reader
      .prepare(`SELECT ${ENTRY_COLUMNS} FROM log WHERE idx >= ? ORDER BY idx`)
      .all(this.#applied) as Entry[];
    const base = rows[0];
    if (this.#applied === 0) {
      assert(base === undefined || base.index === 1, 'the log begins with its first entry');
      return { base: { ...EMPTY_HEAD, time: 0 }, tail: rows };
    }
    assert(base?.index === this.#applied, 'the log holds the entry that was applied last');
    rows.forEach((entry, place) => assert(entry.index === this.#applied + place, 'the log has no gap'));
    return { base: { index: base.index, hash: base.hash, time: base.time }, tail: rows.slice(1) };
  }

  /**
   * Entries that follow `index`, in order, committed or not: those that are on the disk by now. At least one if there is
   * any, else up to about `bytesMax` of mutations. Asserts that the log reaches back so far: see {@link hashAt}.
   */
  entriesAfter(index: number, bytesMax: number): Entry[] {
    const found: Entry[] = [];
    let bytes = 0;
    const rows = this.#reader
      .prepare(`SELECT ${ENTRY_COLUMNS} FROM log WHERE idx > ? AND idx < ? ORDER BY idx`)
      .iterate(index, this.#end) as IterableIterator<Entry>;
    for (const entry of rows) {
      bytes += entry.mutation.length;
      if (found.length > 0 && bytes > bytesMax) break;
      found.push(entry);
      assert(entry.index === index + found.length, 'the log reaches back to what is asked for');
    }
    return found;
  }

  /**
   * Hash of the entry at `index`, or of the empty log for 0; undefined when the log does not reach back so far any more,
   * or when there is no such entry on the disk yet.
   */
  hashAt(index: number): Uint8Array | undefined {
    if (index === 0) {
      const first = this.#reader.prepare('SELECT min(idx) FROM log').pluck().get() as number | null;
      return (first ?? 1) === 1 ? EMPTY_HEAD.hash : undefined;
    }
    if (index >= this.#end) return undefined;
    const hash = this.#reader.prepare('SELECT hash FROM log WHERE idx = ?').pluck().get(index);
    return hash as Buffer | undefined;
  }

  // Entries from here on are being removed, or others are taking their places.
  get #end(): number {
    return Math.min(this.#cutFrom ?? Infinity, this.#cutting ?? Infinity);
  }

  /** Keeps the entry at `after`, if it is there now, and what follows it until the hold is released. */
  keepLog(after: number): LogHold {
    const hold = { after };
    this.#holds.add(hold);
    return {
      advance: (index) => (hold.after = Math.max(hold.after, index)),
      release: () => void this.#holds.delete(hold),
    };
  }

  /**
   * The state as it is on the disk now, to be read page by page while writes go on. The caller closes it.
   * @param some only these tables, for pages and digest alike; all when absent.
   */
  async snapshot(some?: readonly (keyof Tables & string)[]): Promise<Snapshot> {
    // What is applied in memory alone would be missing.
    await this.#flushed();
    const { path, key, tables } = this.#place;
    const snapshot = await openSnapshot(path, key, some ?? tables);
    this.#snapshots.add(snapshot);
    return {
      ...snapshot,
      close: () => {
        this.#snapshots.delete(snapshot);
        return snapshot.close();
      },
    };
  }

  /** SHA-256 over all records through `index`, lower-case hex; see `StateDigest`. */
  async digest(): Promise<{ readonly index: number; readonly digest: string }> {
    const snapshot = await this.snapshot();
    try {
      return { index: snapshot.base?.index ?? 0, digest: await snapshot.digest() };
    } finally {
      await snapshot.close();
    }
  }

  /** Resolves when the entries are on the disk. Calls are written in order; those that wait are written together. */
  append(entries: readonly Entry[]): Promise<void> {
    this.#append.push(...entries);
    return this.#flushed();
  }

  /** Removes the entries from `index` on. */
  cut(index: number): Promise<void> {
    assert(index > this.#applied, 'no committed entry is cut');
    this.#append = this.#append.filter((entry) => entry.index < index);
    this.#cutFrom = Math.min(index, this.#cutFrom ?? index);
    return this.#flushed();
  }

  /** Makes the changes of the next committed entry visible to every read from now on. */
  commit(index: number, changes: readonly RecordChange[]): void {
    assert(index === this.#applied + 1, 'entries are applied in order');
    this.#applied = index;
    this.state.apply(index, changes);
    for (const { table, id, value, switched } of changes)
      this.#writes.push(switched ? { switched } : [table, id, value === null ? null : encode(value)]);
    this.#flushLater();
  }

  /** Writes what is still in memory and closes the file. */
  async close(): Promise<void> {
    while (!this.#failure && (this.#busy || this.#writes.length > 0 || this.#append.length > 0)) {
      this.#next();
      await new Promise<void>((resolve) => this.#idle.push(resolve));
    }
    clearTimeout(this.#timer);
    // The last connection that is closed takes everything into the one file.
    await Promise.all([...this.#snapshots].map((snapshot) => snapshot.close()));
    wipe(this.#place.key);
    this.#reader.close();
    this.#writer.postMessage('close');
    await this.#exit;
  }

  #flushed(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#next();
    });
  }

  // One batch is with the writer at a time; everything that arrives meanwhile shares the next fsync.
  #next(): void {
    if (this.#failure) {
      this.#fail(this.#failure);
      return;
    }
    if (this.#busy) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const batch: Batch = {
      ...(this.#cutFrom === undefined ? {} : { cutFrom: this.#cutFrom }),
      append: this.#append,
      writes: this.#writes,
      applied: this.#applied,
      ...(this.#epochSet === this.#epoch ? {} : { epoch: this.#epochSet }),
      trimThrough: this.#trimThrough(),
    };
    const waiting = this.#waiting;
    if (
      batch.append.length === 0 &&
      batch.writes.length === 0 &&
      batch.cutFrom === undefined &&
      waiting.length === 0
    ) {
      this.#wakeIdle();
      return;
    }
    this.#cutting = this.#cutFrom;
    this.#cutFrom = undefined;
    this.#append = [];
    this.#writes = [];
    this.#waiting = [];
    this.#busy = true;
    this.#done = () => {
      this.#cutting = undefined;
      this.#epoch = batch.epoch ?? this.#epoch;
      this.state.flushed(batch.applied);
      for (const { resolve } of waiting) resolve();
    };
    this.#abandon = (error) => {
      for (const { reject } of waiting) reject(error);
    };
    // In SQLite's words for it.
    if (this.#full?.()) setImmediate(() => this.#written({ error: 'database or disk is full' }));
    else this.#writer.postMessage(batch);
  }

  // The entry that is held stays too: by its hash a member finds that its own log leads there.
  #trimThrough(): number {
    const kept = [...this.#holds].map(({ after }) => after - 1);
    return Math.max(0, Math.min(this.#applied - LOG_KEPT, ...kept));
  }

  #done: () => void = () => undefined;
  #abandon: (error: Error) => void = () => undefined;

  #written(answer: WriterAnswer): void {
    if (answer.error !== undefined) {
      this.#fail(new Error(`the store cannot be written: ${answer.error}`));
      return;
    }
    this.#busy = false;
    this.#done();
    this.#wakeIdle();
    if (this.#append.length > 0 || this.#waiting.length > 0) this.#next();
    else if (this.#writes.length > 0) this.#flushLater();
  }

  #flushLater(): void {
    this.#timer ??= setTimeout(() => {
      // Cleared here too: a timer that ends while the writer is busy must not stand in the way of the next.
      this.#timer = undefined;
      this.#next();
    }, FLUSH_DELAY_MS);
  }

  // What could not be written must not be followed by something that can: the log would have a gap.
  #fail(error: Error): void {
    this.#failure ??= error;
    this.#abandon(error);
    for (const { reject } of this.#waiting) reject(error);
    this.#waiting = [];
    this.#wakeIdle();
  }

  #wakeIdle(): void {
    for (const wake of this.#idle) wake();
    this.#idle = [];
  }
}
