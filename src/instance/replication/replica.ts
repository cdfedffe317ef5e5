// The replica machine: what one member does with what it hears, without clock, disk, network or slot. Events go in
// through its methods; what must be done comes out of `take()` in order.
//
// Invariants:
// - an entry is committed only when every member of the view has it on disk and has proven it;
// - entries at or below `committed` are never cut;
// - a member that says "prepared n" holds every entry through n, with the hash it names;
// - a refusal is given only after every entry it was judged against is committed.
import { assert } from '../../values/assert.js';
import { equalBytes } from '../../values/bytes.js';
import type { Seconds } from '../../values/moments.js';
import type { Entry, Head } from '../../values/entry.js';
import { chain, follows } from './entry.js';
import type { View } from './view.js';

type OutageCode = 'TooFewInSync' | 'TooMuchUndecided' | 'OutcomeUnknown';

/**
 * Octets of undecided mutations. A member that comes back is sent all of them in one message, which must fit into a
 * frame of the link, or no member could ever come back.
 */
const UNDECIDED_MAX = 32 * 1024 * 1024;

export type Message =
  /** Backup to primary, first on every link: it wants to follow. */
  | { readonly type: 'hello'; readonly epoch: number }
  /** Primary to backup, in answer: what is committed, and all that is not. */
  | {
      readonly type: 'tail';
      readonly epoch: number;
      readonly committed: Head;
      readonly entries: readonly Entry[];
    }
  | { readonly type: 'prepare'; readonly epoch: number; readonly entry: Entry }
  | { readonly type: 'prepared'; readonly epoch: number; readonly head: Head }
  | { readonly type: 'committed'; readonly epoch: number; readonly index: number }
  | { readonly type: 'submit'; readonly id: string; readonly mutation: Uint8Array }
  | { readonly type: 'refused'; readonly id: string; readonly refusal: unknown }
  | {
      readonly type: 'outage';
      readonly id: string;
      readonly code: OutageCode;
      readonly detail: string;
    };

/** The judge's word on a submitted mutation. `refusal` travels as it is. */
export type Verdict =
  | {
      readonly accepted: true;
      readonly time: Seconds;
      readonly mutation: Uint8Array;
      readonly changesHash: Uint8Array;
    }
  | { readonly accepted: false; readonly refusal: unknown };

export type Effect =
  | { readonly kind: 'send'; readonly to: number; readonly message: Message }
  /** Primary: prove the mutation in the slot, then answer with {@link Replica.judged}. */
  | { readonly kind: 'judge'; readonly id: string; readonly mutation: Uint8Array }
  /** Primary: an entry just judged; to the disk, then {@link Replica.persisted}. */
  | { readonly kind: 'append'; readonly entry: Entry }
  /** Backup: check what it changes, prove it, to the disk, then {@link Replica.persisted}. */
  | { readonly kind: 'prepare'; readonly entry: Entry }
  /** Backup: undecided entries from this index on are void. */
  | { readonly kind: 'cut'; readonly index: number }
  /** Apply through this index; submissions of this member that are among them are answered. */
  | { readonly kind: 'commit'; readonly index: number }
  | { readonly kind: 'refused'; readonly id: string; readonly refusal: unknown }
  | {
      readonly kind: 'outage';
      readonly id: string;
      readonly code: OutageCode;
      readonly detail: string;
    }
  /** This member's log cannot be what the pool committed: it must not serve. */
  | { readonly kind: 'damaged'; readonly reason: string };

/** A judged refusal that waits for what it was judged against. */
interface HeldRefusal {
  readonly id: string;
  readonly origin: number;
  readonly refusal: unknown;
  readonly after: number;
}

export interface Log {
  readonly committed: Head;
  /** Everything after `committed`, in order: on the disk, undecided. */
  readonly tail: readonly Entry[];
}

export class Replica {
  readonly #self: number;
  readonly #view: View;
  #committed: Head;
  /** Entries after `committed`. */
  #tail: Entry[];
  /** Last index that this member has on disk and proven. */
  #persisted: number;
  /** Primary: what each linked backup has said that it holds; absent until its first word after a link came up. */
  readonly #prepared = new Map<number, number>();
  readonly #linked = new Set<number>();
  /** Backup: the primary has sent its tail on the present link. */
  #followed = false;
  /** Primary: mutations between submission and verdict, and accepted ones until they are committed, by id. */
  readonly #origins = new Map<string, number>();
  /** Ids of accepted mutations by index. */
  readonly #accepted = new Map<number, string>();
  /** Backup: own submissions that the primary has been sent. */
  readonly #submitted = new Set<string>();
  #refusals: HeldRefusal[] = [];
  #effects: Effect[] = [];

  constructor(self: number, view: View, log: Log) {
    this.#self = self;
    this.#view = view;
    this.#committed = log.committed;
    this.#tail = [...log.tail];
    this.#persisted = this.#last.index;
  }

  /** What is to be done since the last call, in order. */
  take(): Effect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  get isPrimary(): boolean {
    return this.#self === this.#view.primary;
  }

  get committed(): number {
    return this.#committed.index;
  }

  /** True while nothing that this member holds is undecided. */
  get decided(): boolean {
    return this.#tail.length === 0;
  }

  /** Every member that this one depends on is linked and in step. */
  get inSync(): boolean {
    return this.isPrimary ? this.#missing().length === 0 : this.#followed;
  }

  get #last(): Head {
    return this.#tail.at(-1) ?? this.#committed;
  }

  /** A link to another member is up. */
  linked(member: number): void {
    assert(member !== this.#self && !this.#linked.has(member), 'one link to each other member');
    this.#linked.add(member);
    if (member !== this.#view.primary) return;
    this.#send(member, { type: 'hello', epoch: this.#view.epoch });
  }

  /** A link is lost: what the other side knows of the last messages is unknown. */
  unlinked(member: number): void {
    this.#linked.delete(member);
    this.#prepared.delete(member);
    if (this.isPrimary) {
      // Until the member is back nothing can be committed; who waits is told now rather than left hanging.
      for (const [index, id] of this.#accepted) this.#giveUp(index, id, member);
      for (const { id, origin } of this.#refusals)
        this.#outage(origin, id, 'TooFewInSync', this.#missingText());
      this.#refusals = [];
    } else if (member === this.#view.primary) {
      this.#followed = false;
      for (const id of this.#submitted) {
        const detail = `the link to the primary, instance ${member}, was lost before it answered: outcome unknown`;
        this.#effects.push({ kind: 'outage', id, code: 'OutcomeUnknown', detail });
      }
      this.#submitted.clear();
    }
  }

  /** A mutation from a caller of this member. */
  submit(id: string, mutation: Uint8Array): void {
    if (this.isPrimary) {
      this.#consider(this.#self, id, mutation);
    } else if (this.#followed) {
      this.#submitted.add(id);
      this.#send(this.#view.primary, { type: 'submit', id, mutation });
    } else {
      const detail = `the primary, instance ${this.#view.primary}, is not reachable: nothing was changed`;
      this.#effects.push({ kind: 'outage', id, code: 'TooFewInSync', detail });
    }
  }

  /** The verdict on a `judge` effect. Gives back the entry made of an accepted mutation, if it can still be taken. */
  judged(id: string, verdict: Verdict): Entry | undefined {
    const origin = this.#origins.get(id);
    assert(origin !== undefined, 'only what was submitted is judged');
    if (!verdict.accepted) {
      this.#origins.delete(id);
      const after = this.#last.index;
      if (after > this.#committed.index && this.#missing().length > 0) {
        // As for those that were held when the member left: what this was judged against waits for its return.
        this.#outage(origin, id, 'TooFewInSync', this.#missingText());
        return undefined;
      }
      this.#refusals.push({ id, origin, refusal: verdict.refusal, after });
      this.#answerRefusals();
      return undefined;
    }
    if (this.#missing().length > 0) {
      this.#origins.delete(id);
      this.#outage(origin, id, 'TooFewInSync', this.#missingText());
      return undefined;
    }
    const { time, mutation, changesHash } = verdict;
    const undecided = this.#tail.reduce((sum, entry) => sum + entry.mutation.length, mutation.length);
    if (undecided > UNDECIDED_MAX) {
      this.#origins.delete(id);
      this.#outage(origin, id, 'TooMuchUndecided', 'too many changes are under way');
      return undefined;
    }
    const entry = chain(this.#last, { epoch: this.#view.epoch, time, mutation, changesHash });
    this.#tail.push(entry);
    this.#accepted.set(entry.index, id);
    this.#effects.push({ kind: 'append', entry });
    for (const member of this.#prepared.keys()) {
      this.#send(member, { type: 'prepare', epoch: this.#view.epoch, entry });
    }
    return entry;
  }

  /** The entry that `head` names, and all before it, are on this member's disk and proven in its slot. */
  persisted(head: Head): void {
    // An entry that was cut while it was being written counts for nothing, even if another took its place.
    const current = head.index > this.#last.index ? undefined : this.#headAt(head.index);
    if (head.index <= this.#persisted || !current || !equalBytes(current.hash, head.hash)) return;
    this.#persisted = head.index;
    if (this.isPrimary) this.#advance();
    else if (this.#followed) this.#reportPrepared();
  }

  received(from: number, message: Message): void {
    switch (message.type) {
      case 'hello':
        if (this.isPrimary && message.epoch === this.#view.epoch) this.#sendTail(from);
        break;
      case 'tail':
        this.#follow(from, message.epoch, message.committed, message.entries);
        break;
      case 'prepare':
        if (!this.#ofPrimary(from, message.epoch)) break;
        this.#takeEntry(message.entry);
        break;
      case 'prepared':
        if (!this.isPrimary || message.epoch !== this.#view.epoch) break;
        this.#heardPrepared(from, message.head);
        break;
      case 'committed':
        if (!this.#ofPrimary(from, message.epoch)) break;
        this.#commitThrough(message.index);
        break;
      case 'submit':
        if (this.isPrimary) this.#consider(from, message.id, message.mutation);
        break;
      case 'refused':
        if (this.#submitted.delete(message.id))
          this.#effects.push({ kind: 'refused', id: message.id, refusal: message.refusal });
        break;
      case 'outage':
        if (this.#submitted.delete(message.id)) {
          this.#effects.push({ kind: 'outage', id: message.id, code: message.code, detail: message.detail });
        }
        break;
    }
  }

  /** A submission of this member is committed and answered; nothing is owed to it any more. */
  answered(id: string): void {
    this.#submitted.delete(id);
  }

  #consider(origin: number, id: string, mutation: Uint8Array): void {
    if (this.#missing().length > 0) {
      this.#outage(origin, id, 'TooFewInSync', this.#missingText());
    } else if (this.#origins.has(id)) {
      this.#outage(origin, id, 'OutcomeUnknown', 'the same mutation is being decided: outcome unknown');
    } else {
      this.#origins.set(id, origin);
      this.#effects.push({ kind: 'judge', id, mutation });
    }
  }

  #missing(): number[] {
    return this.#view.inSync.filter((member) => member !== this.#self && !this.#prepared.has(member));
  }

  #missingText(): string {
    const missing = this.#missing();
    const who =
      missing.length === 1 ? `instance ${String(missing[0])} is` : `instances ${missing.join(' and ')} are`;
    return `${who} missing, and a change must be stored by all ${this.#view.inSync.length} partitions`;
  }

  // Primary: a backup counts as prepared only for what it confirms on its present link. No entry is made while one
  // has not confirmed, so the tail as it is now is all that it can have missed.
  #sendTail(to: number): void {
    this.#send(to, {
      type: 'tail',
      epoch: this.#view.epoch,
      committed: this.#committed,
      entries: this.#tail,
    });
  }

  // Backup: makes its undecided tail equal to the primary's.
  #follow(from: number, epoch: number, committed: Head, entries: readonly Entry[]): void {
    if (!this.#ofPrimary(from, epoch)) return;
    const own =
      committed.index === this.#committed.index
        ? this.#committed
        : this.#tail[committed.index - this.#committed.index - 1];
    if (committed.index < this.#committed.index) {
      // The primary knows less of what is decided than this member does; it will learn from the answers. What this
      // member knows to be committed must be in the tail it was sent.
      const known = entries[this.#committed.index - committed.index - 1];
      if (!known || !equalBytes(known.hash, this.#committed.hash)) {
        this.#damaged('the primary lacks an entry that is committed here');
        return;
      }
    } else if (!own || !equalBytes(own.hash, committed.hash)) {
      this.#damaged('an entry that the pool committed is missing here, or differs');
      return;
    }
    this.#followed = true;
    this.#commitThrough(committed.index);
    for (const entry of entries) {
      if (entry.index <= this.#committed.index) continue;
      const mine = this.#tail[entry.index - this.#committed.index - 1];
      if (mine && equalBytes(mine.hash, entry.hash)) continue;
      if (mine) this.#cut(entry.index);
      this.#takeEntry(entry);
    }
    const end = entries.at(-1)?.index ?? committed.index;
    if (this.#last.index > end) this.#cut(end + 1);
    this.#reportPrepared();
  }

  #cut(index: number): void {
    assert(index > this.#committed.index, 'no committed entry is cut');
    this.#tail.length = index - this.#committed.index - 1;
    this.#persisted = Math.min(this.#persisted, index - 1);
    this.#effects.push({ kind: 'cut', index });
  }

  #takeEntry(entry: Entry): void {
    if (!follows(this.#last, entry)) {
      this.#damaged(`entry ${entry.index} does not follow ${this.#last.index}`);
      return;
    }
    this.#tail.push(entry);
    this.#effects.push({ kind: 'prepare', entry });
  }

  #reportPrepared(): void {
    const head = this.#headAt(this.#persisted);
    this.#send(this.#view.primary, { type: 'prepared', epoch: this.#view.epoch, head });
  }

  #headAt(index: number): Head {
    if (index <= this.#committed.index) return this.#committed;
    const entry = this.#tail[index - this.#committed.index - 1];
    assert(entry !== undefined, 'only what is in the log is reported');
    return { index: entry.index, hash: entry.hash };
  }

  #heardPrepared(from: number, head: Head): void {
    if (!this.#linked.has(from) || head.index > this.#last.index) return;
    if (head.index >= this.#committed.index && !equalBytes(this.#headAt(head.index).hash, head.hash)) return;
    this.#prepared.set(from, Math.max(head.index, this.#prepared.get(from) ?? 0));
    this.#advance();
  }

  #advance(): void {
    const held = this.#view.inSync.map((member) =>
      member === this.#self ? this.#persisted : (this.#prepared.get(member) ?? 0),
    );
    const index = Math.min(...held);
    if (index <= this.#committed.index) return;
    this.#commitThrough(index);
    for (const member of this.#prepared.keys()) {
      this.#send(member, { type: 'committed', epoch: this.#view.epoch, index: this.#committed.index });
    }
    this.#answerRefusals();
  }

  #commitThrough(index: number): void {
    if (index <= this.#committed.index) return;
    if (index > this.#persisted) {
      this.#damaged(`entry ${index} was committed before it was stored here`);
      return;
    }
    const decided = this.#tail.splice(0, index - this.#committed.index);
    const last = decided.at(-1);
    assert(last?.index === index, 'what is committed is in the log');
    this.#committed = { index, hash: last.hash };
    this.#effects.push({ kind: 'commit', index });
    for (const entry of decided) {
      const id = this.#accepted.get(entry.index);
      if (id === undefined) continue;
      this.#accepted.delete(entry.index);
      this.#origins.delete(id);
    }
  }

  #answerRefusals(): void {
    const due = this.#refusals.filter(({ after }) => after <= this.#committed.index);
    this.#refusals = this.#refusals.filter(({ after }) => after > this.#committed.index);
    for (const { id, origin, refusal } of due) {
      if (origin === this.#self) this.#effects.push({ kind: 'refused', id, refusal });
      else this.#send(origin, { type: 'refused', id, refusal });
    }
  }

  #giveUp(index: number, id: string, missing: number): void {
    const origin = this.#origins.get(id);
    if (origin === undefined) return;
    this.#accepted.delete(index);
    this.#origins.delete(id);
    this.#outage(
      origin,
      id,
      'OutcomeUnknown',
      `instance ${missing} was lost before it confirmed: outcome unknown`,
    );
  }

  #outage(origin: number, id: string, code: OutageCode, detail: string): void {
    if (origin === this.#self) this.#effects.push({ kind: 'outage', id, code, detail });
    else this.#send(origin, { type: 'outage', id, code, detail });
  }

  #damaged(reason: string): void {
    this.#effects.push({ kind: 'damaged', reason });
  }

  #ofPrimary(from: number, epoch: number): boolean {
    return !this.isPrimary && from === this.#view.primary && epoch === this.#view.epoch;
  }

  #send(to: number, message: Message): void {
    if (this.#linked.has(to)) this.#effects.push({ kind: 'send', to, message });
  }
}
