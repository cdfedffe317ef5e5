// The undecided tail: entries that this member holds and that are not committed, with what each would change. Reads
// wait for those that touch what they read; the judge sees committed state with all of them applied.
//
// Invariants: items are in log order without a gap; `view` is the committed state with every item's changes.
import { createHash } from 'node:crypto';
import { assert } from '../../values/assert.js';
import { encode } from '../../values/cbor.js';
import type { Entry } from '../../values/entry.js';
import { tagsOf, type Tag } from '../model/judge.js';
import type { Mutation } from '../model/mutation.js';
import { Overlay, type Change, type State } from '../model/state.js';
import { Outage } from './outage.js';

export interface Item {
  readonly entry: Entry;
  readonly mutation: Mutation;
  readonly changes: readonly Change[];
}

/** A read that waits for an entry. */
interface Waiting {
  readonly tags: readonly (Tag | 'keys')[];
  /** The newest entry under its tags when it came; a lower one only after that was cut. */
  index: number;
  readonly resolve: () => void;
  readonly reject: (error: Outage) => void;
  readonly timer: NodeJS.Timeout;
}

/** How long a read waits for an undecided mutation of what it reads. */
const WAIT_MS = 5_000;

export class Tail {
  readonly #committed: State;
  readonly #newest = new Map<Tag, number>();
  #items: Item[] = [];
  #view: Overlay;
  #waiting: Waiting[] = [];

  constructor(committed: State) {
    this.#committed = committed;
    this.#view = new Overlay(committed);
  }

  /** What the next mutation is judged against. */
  get view(): State {
    return this.#view;
  }

  get items(): readonly Item[] {
    return this.#items;
  }

  /** Holds an entry from now on: before its "prepared" is sent. */
  push(item: Item): void {
    const before = this.#items.at(-1);
    assert(before === undefined || item.entry.index === before.entry.index + 1, 'the tail has no gap');
    this.#items.push(item);
    this.#view.apply(item.changes);
    for (const tag of tagsOf(item.mutation)) this.#newest.set(tag, item.entry.index);
  }

  /**
   * Takes out the items through `index`: they are committed. The caller applies them to committed state and then
   * calls {@link settle}, in the same turn.
   */
  takeThrough(index: number): Item[] {
    const count = this.#items.findIndex(({ entry }) => entry.index > index);
    return this.#items.splice(0, count === -1 ? this.#items.length : count);
  }

  /** Drops the items from `index` on: they never happened. */
  cut(index: number): void {
    this.#items = this.#items.filter(({ entry }) => entry.index < index);
    this.settle();
  }

  /** Brings view and waiting reads up to date after items have left. */
  settle(): void {
    this.#view = new Overlay(this.#committed);
    this.#newest.clear();
    for (const { entry, mutation, changes } of this.#items) {
      this.#view.apply(changes);
      for (const tag of tagsOf(mutation)) this.#newest.set(tag, entry.index);
    }
    const first = this.#items[0]?.entry.index ?? Infinity;
    const last = this.#items.at(-1)?.entry.index ?? 0;
    // What is left after a cut was there before: a read whose entry was cut waits for the next lower one.
    for (const read of this.#waiting) if (read.index > last) read.index = this.#newestOf(read.tags);
    const due = this.#waiting.filter(({ index }) => index < first);
    if (due.length === 0) return;
    this.#waiting = this.#waiting.filter(({ index }) => index >= first);
    for (const { resolve, timer } of due) {
      clearTimeout(timer);
      resolve();
    }
  }

  /**
   * Undefined when nothing undecided touches the tags; else a promise for the moment when what does now has been
   * decided. Rejects with an `Outage` after {@link WAIT_MS}.
   */
  settled(tags: readonly (Tag | 'keys')[]): Promise<void> | undefined {
    if (this.#items.length === 0) return undefined;
    const index = this.#newestOf(tags);
    if (index === 0) return undefined;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting = this.#waiting.filter((read) => read !== waiting);
        reject(
          new Outage(
            'Undecided',
            'a change to what was asked for is not decided yet, since a partition is missing',
          ),
        );
      }, WAIT_MS);
      const waiting: Waiting = { tags, index, resolve, reject, timer };
      this.#waiting.push(waiting);
    });
  }

  #newestOf(tags: readonly (Tag | 'keys')[]): number {
    let index = 0;
    for (const tag of tags) {
      index = Math.max(index, tag === 'keys' ? this.#newestKey() : (this.#newest.get(tag) ?? 0));
    }
    return index;
  }

  #newestKey(): number {
    let newest = 0;
    for (const [tag, index] of this.#newest) if (tag.startsWith('key:')) newest = Math.max(newest, index);
    return newest;
  }
}

/** SHA-256 over the encoded changes: equal on every member that judges by the same rules on the same state. */
export function hashOfChanges(changes: readonly Change[]): Buffer {
  return createHash('sha256').update(encode(changes)).digest();
}
