// What a member in the view gives to one that is not: pages of the log, or a snapshot and then its pages. It answers
// questions and remembers only what it must keep for the next one.
import { randomUUID } from 'node:crypto';
import { assert } from '../../values/assert.js';
import { equalBytes } from '../../values/bytes.js';
import type { Entry, Head } from '../../values/entry.js';
import type { Tables } from '../model/state.js';
import type { Snapshot, SnapshotPart } from '../store/snapshot.js';
import type { LogHold, Store } from '../store/store.js';

/** Asked of the primary by a member that is not in the view; `after` is what it holds of the committed log. */
export type CatchUpQuestion =
  | {
      readonly kind: 'catch-up';
      readonly after: Head;
      /** It follows already and can no longer take another state in place of its own, however much it lacks. */
      readonly following?: true;
    }
  | { readonly kind: 'snapshot-page'; readonly id: string };

/** Committed entries that follow what was asked for, not always all. */
export interface LogAnswer {
  readonly kind: 'log';
  readonly entries: readonly Entry[];
  /** Of the primary, when it answered. */
  readonly committed: Head;
}

/** The asker's log is not the beginning of this one, does not reach back to it, or lacks more than is worth replaying. */
export interface SnapshotAnswer {
  readonly kind: 'snapshot';
  /** For the questions about its pages. */
  readonly id: string;
  /** Null before the first entry. */
  readonly base: Entry | null;
  readonly records: number;
}

export type CatchUpAnswer = LogAnswer | SnapshotAnswer | SnapshotPart;

export function isCatchUpQuestion(question: unknown): question is CatchUpQuestion {
  if (typeof question !== 'object' || question === null) return false;
  const { kind, id, after } = question as { kind?: unknown; id?: unknown; after?: Partial<Head> | null };
  if (kind === 'snapshot-page') return typeof id === 'string';
  return kind === 'catch-up' && Number.isSafeInteger(after?.index) && after?.hash instanceof Uint8Array;
}

/** So many entries are replayed in no time, whatever the size of the state. */
const REPLAYED_MAX = 256;
/** Records of a snapshot that are taken over in the time in which one entry is judged and its key opened in the slot. */
const RECORDS_PER_ENTRY = 200;
/** Bytes of mutations in one answer. */
const PAGE_BYTES = 1_048_576;
/** Each keeps old pages of the file from being overwritten. */
const SNAPSHOTS_MAX = 2;
/** After so long without a question the asker has given up. */
const IDLE_MS = 30_000;

interface Joiner {
  readonly hold: LogHold;
  readonly snapshot?: Promise<Snapshot>;
  readonly id?: string;
  readonly idle: NodeJS.Timeout;
}

export class Donor {
  readonly #store: Store<Tables>;
  readonly #mayDonate: () => boolean;
  readonly #idleMs: number;
  readonly #joiners = new Map<number, Joiner>();

  /** @param mayDonate whether this member is the primary of the present view. */
  constructor(store: Store<Tables>, mayDonate: () => boolean, idleMs = IDLE_MS) {
    this.#store = store;
    this.#mayDonate = mayDonate;
    this.#idleMs = idleMs;
  }

  /** Rejects with what the asker is told. */
  async answer(from: number, question: CatchUpQuestion): Promise<CatchUpAnswer> {
    if (!this.#mayDonate())
      throw new Error('only the primary of the present view gives log and state, and this is not it');
    if (question.kind === 'snapshot-page') return this.#page(from, question.id);
    const { after, following } = question;
    const own = after.index <= this.#store.applied ? this.#store.hashAt(after.index) : undefined;
    const byLog = own && equalBytes(own, after.hash) && (following || this.#isReplayed(after.index));
    return byLog ? this.#log(from, after.index) : this.#snapshot(from);
  }

  // While a member replays, the pool has one copy less: it takes whichever is quicker.
  #isReplayed(after: number): boolean {
    const { applied, state } = this.#store;
    const lacked = applied - after;
    if (lacked <= REPLAYED_MAX) return true;
    const records = state.count('keys') + state.count('deleted') + state.count('versions');
    return records > lacked * RECORDS_PER_ENTRY;
  }

  /** The link to a member is lost, and with it whatever it was being given. */
  lost(member: number): void {
    const joiner = this.#joiners.get(member);
    if (!joiner) return;
    this.#joiners.delete(member);
    clearTimeout(joiner.idle);
    joiner.hold.release();
    // One that could not be opened needs no closing.
    joiner.snapshot?.then((snapshot) => snapshot.close()).catch(() => undefined);
  }

  #log(from: number, after: number): LogAnswer {
    const { applied } = this.#store;
    const entries = this.#store.entriesAfter(after, PAGE_BYTES).filter(({ index }) => index <= applied);
    const hash = this.#store.hashAt(applied);
    assert(hash !== undefined, 'what is committed is in the log on the disk');
    const { hold } = this.#remember(from, { hold: this.#store.keepLog(after) });
    hold.advance(entries.at(-1)?.index ?? after);
    return { kind: 'log', entries, committed: { index: applied, hash } };
  }

  async #snapshot(from: number): Promise<SnapshotAnswer> {
    this.lost(from);
    const others = [...this.#joiners.values()].filter(({ snapshot }) => snapshot !== undefined);
    if (others.length >= SNAPSHOTS_MAX)
      throw new Error(`${SNAPSHOTS_MAX} other members are being given snapshots already`);
    const id = randomUUID();
    // What follows the snapshot, whatever is committed while it is being read.
    const hold = this.#store.keepLog(this.#store.applied);
    const snapshot = this.#store.snapshot();
    this.#remember(from, { hold, snapshot, id });
    const { base, records } = await snapshot;
    return { kind: 'snapshot', id, base: base ?? null, records };
  }

  async #page(from: number, id: string): Promise<SnapshotPart> {
    const joiner = this.#joiners.get(from);
    if (joiner?.id !== id || !joiner.snapshot)
      throw new Error('this snapshot is not being given any more: ask for another');
    joiner.idle.refresh();
    const snapshot = await joiner.snapshot;
    const part = await snapshot.next();
    // What follows it is asked for next.
    if (part.kind === 'end') this.#remember(from, { hold: this.#store.keepLog(snapshot.base?.index ?? 0) });
    return part;
  }

  // In place of what the member was being given before.
  #remember(from: number, parts: Omit<Joiner, 'idle'>): Joiner {
    this.lost(from);
    const idle = setTimeout(() => this.lost(from), this.#idleMs);
    // It keeps no process that is done with everything else.
    idle.unref();
    const joiner = { ...parts, idle };
    this.#joiners.set(from, joiner);
    return joiner;
  }
}
