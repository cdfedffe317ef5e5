// The replica machine: what one member does with what it hears, without clock, disk, network or slot. Events go in
// through its methods; what must be done comes out of `take()` in order.
//
// Invariants:
// - an entry is committed only when every member of the view, and every joiner that may have become one, has it on
//   disk and has proven it;
// - entries at or below `committed` are never cut;
// - a member that says "prepared n" holds every entry through n, with the hash it names, and has nothing else on its
//   disk that it would find after a crash: its cuts are there too;
// - a refusal is given only after every entry it was judged against is committed;
// - "certainly did not happen" is said only of what never got an entry, and nothing that may have got one is submitted
//   again;
// - a joiner is proposed only once the primary has decided what it inherited and the joiner holds all that is decided.
import { assert } from '../../values/assert.js';
import { equalBytes } from '../../values/bytes.js';
import type { Seconds } from '../../values/moments.js';
import type { Entry, Head } from '../../values/entry.js';
import { isMember, type Member, type View } from '../../values/view.js';
import { chain, follows } from './entry.js';

type OutageCode = 'TooFewInSync' | 'TooMuchUndecided' | 'OutcomeUnknown';

/**
 * Octets of undecided mutations. A member that comes back is sent all of them in one message, which must fit into a
 * frame of the link, or no member could ever come back.
 */
const UNDECIDED_MAX = 32 * 1024 * 1024;
/** Disks that must hold what is answered; a smaller view takes no new changes. */
const REDUNDANCY = 2;
/** A joiner that is behind by no more entries is waited for: under load it would never hold all of them by itself. */
const COURTED_BEHIND_MAX = 256;

export type Message =
  /** To the primary, first on every link and in every view: this store wants to follow. */
  | { readonly type: 'hello'; readonly epoch: number; readonly store: string }
  /** The primary's answer: what is committed, through where it may be answered, and all that is not committed. */
  | {
      readonly type: 'tail';
      readonly epoch: number;
      readonly committed: Head;
      readonly answered: number;
      readonly entries: readonly Entry[];
    }
  | { readonly type: 'prepare'; readonly epoch: number; readonly entry: Entry }
  | { readonly type: 'prepared'; readonly epoch: number; readonly head: Head }
  | {
      readonly type: 'committed';
      readonly epoch: number;
      readonly index: number;
      readonly answered: number;
    }
  | { readonly type: 'submit'; readonly id: string; readonly mutation: Uint8Array }
  | { readonly type: 'refused'; readonly id: string; readonly refusal: unknown }
  /** Not taken, and never will be: it may be submitted to another primary. */
  | { readonly type: 'returned'; readonly id: string }
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
  /** Others: check what it changes, prove it, to the disk, then {@link Replica.persisted}. */
  | { readonly kind: 'prepare'; readonly entry: Entry }
  /** Others: undecided entries from this index on are void; {@link Replica.cutPersisted} once the disk knows it. */
  | { readonly kind: 'cut'; readonly index: number }
  /** Apply through this index. */
  | { readonly kind: 'commit'; readonly index: number }
  /** What is committed through this index is on enough disks to be answered. */
  | { readonly kind: 'answer'; readonly index: number }
  | { readonly kind: 'refused'; readonly id: string; readonly refusal: unknown }
  | {
      readonly kind: 'outage';
      readonly id: string;
      readonly code: OutageCode;
      readonly detail: string;
    }
  /** The way to who decides this submission is lost. It stands if it is in this member's log and not cut; else who knows. */
  | { readonly kind: 'unsettled'; readonly id: string; readonly primary: number }
  /** Joiner: entries after its last one are missing, through the one named; {@link Replica.fill} takes them in order, or {@link Replica.differs}. */
  | { readonly kind: 'gap'; readonly through: Head }
  /** Primary: the view should include this member; a view or {@link Replica.declined} answers. */
  | { readonly kind: 'propose'; readonly epoch: number; readonly member: Member }
  /** The primary of the view lacks what is committed here: it must not order. */
  | { readonly kind: 'accuse'; readonly epoch: number }
  /** Told to {@link Replica.retire}, and nothing is undecided any more. */
  | { readonly kind: 'retired' }
  /** This member's log cannot be what the pool committed: it must not serve. */
  | { readonly kind: 'damaged'; readonly reason: string };

/** Where a mutation came from; kept to be given back when another becomes primary. */
interface Submission {
  readonly origin: number;
  readonly mutation: Uint8Array;
}

/** A judged refusal that waits for what it was judged against. */
interface HeldRefusal extends Submission {
  readonly id: string;
  readonly refusal: unknown;
  readonly after: number;
}

/** Primary: somebody who follows on the present link, in the present view. */
interface Following {
  readonly member: Member;
  /** Through which index it holds the log; absent until its first word. */
  prepared: number | undefined;
  /** A joiner that commits wait for: nearly, or already, proposed. */
  required: boolean;
  /** It was proposed in this view; what became of it is not known, or it was declined. */
  proposed: 'no' | 'open' | 'declined';
}

export interface Log {
  readonly committed: Head;
  /** Everything after `committed`, in order: on the disk, undecided. */
  readonly tail: readonly Entry[];
}

export class Replica {
  readonly #self: Member;
  #view: View | undefined;
  #committed: Head;
  /** Entries after `committed`. */
  #tail: Entry[];
  /** Last index that this member has on disk and proven. */
  #persisted: number;
  /** Cuts that the disk has not confirmed. */
  #cutting = 0;
  /** Through where what is committed may be answered. */
  #answered: number;
  readonly #linked = new Set<number>();

  /** Primary: who follows in this view. */
  readonly #followers = new Map<number, Following>();
  /** Primary: what others, dropped ones too, were known to have on disk. */
  readonly #held = new Map<number, number>();
  /** Primary: last entry of the log when this view began; what is in it may have been answered by another primary. */
  #inherited = 0;
  /** Greetings for a view that this member has not heard of yet. */
  readonly #early = new Map<number, Extract<Message, { type: 'hello' }>>();
  /** Primary: mutations between submission and verdict, and accepted ones until they are committed, by id. */
  readonly #origins = new Map<string, Submission>();
  /** Ids of accepted mutations by index. */
  readonly #accepted = new Map<number, string>();
  #refusals: HeldRefusal[] = [];
  #retiring = false;

  /** Others: the primary has sent its tail on the present link, in this view. */
  #followed = false;
  /** Others: through which index the primary says that everything is committed. */
  #decided = 0;
  /** Joiner: what the primary sent while entries before it are missing. */
  #behind: Message[] | undefined;
  /** Own submissions that nobody has been sent. */
  readonly #waiting = new Map<string, Uint8Array>();
  /** Own submissions that a primary has been sent. */
  readonly #submitted = new Map<string, { readonly to: number; readonly mutation: Uint8Array }>();
  #effects: Effect[] = [];

  constructor(self: Member, log: Log) {
    this.#self = self;
    this.#committed = log.committed;
    this.#tail = [...log.tail];
    this.#persisted = this.#last.index;
    this.#answered = log.committed.index;
  }

  /** What is to be done since the last call, in order. */
  take(): Effect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  get isPrimary(): boolean {
    const view = this.#view;
    return view?.primary === this.#self.instance && isMember(view, this.#self);
  }

  /** Whether the view includes this member. */
  get isMember(): boolean {
    return this.#view !== undefined && isMember(this.#view, this.#self);
  }

  get epoch(): number {
    return this.#view?.epoch ?? 0;
  }

  /** The instance that orders in the present view. */
  get primary(): number | undefined {
    return this.#view?.primary;
  }

  get committed(): number {
    return this.#committed.index;
  }

  /** True while nothing that this member holds is undecided. */
  get decided(): boolean {
    return this.#tail.length === 0;
  }

  /** In the view, and every member that this one depends on is linked and in step. */
  get inSync(): boolean {
    if (!this.isMember) return false;
    return this.isPrimary ? this.#missing().length === 0 : this.#followed;
  }

  /** Who has not confirmed the first undecided entry, this member itself perhaps; undefined when all is decided. */
  get heldUpBy(): { readonly index: number; readonly instances: readonly number[] } | undefined {
    const index = this.#committed.index + 1;
    if (!this.isPrimary || this.#tail.length === 0) return undefined;
    const instances = this.#required().filter((instance) => this.#heldBy(instance) < index);
    if (this.#durable < index) instances.push(this.#self.instance);
    return { index, instances };
  }

  get #last(): Head {
    return this.#tail.at(-1) ?? this.#committed;
  }

  // What would be found on the disk after a crash is a prefix of the log only once all cuts are there.
  get #durable(): number {
    return this.#cutting > 0 ? this.#committed.index : this.#persisted;
  }

  /** The view has changed; its epoch is on the disk. Older ones are ignored. */
  adopt(view: View): void {
    if (view.epoch <= this.epoch) return;
    const wasPrimary = this.isPrimary;
    this.#view = view;
    this.#followers.clear();
    this.#followed = false;
    this.#behind = undefined;
    this.#retiring = false;
    if (this.isPrimary) {
      this.#inherited = this.#last.index;
      // What waited for a primary, and what another one gave back, is decided here from now on.
      for (const [id, mutation] of this.#takeWaiting()) this.#consider(this.#self.instance, id, mutation);
      this.#advance();
      for (const [member, hello] of this.#early) {
        if (hello.epoch === view.epoch) this.#greeted(member, hello);
      }
    } else {
      if (wasPrimary) this.#giveBack();
      if (this.#linked.has(view.primary)) this.#greet();
    }
    for (const [member, { epoch }] of this.#early) if (epoch <= view.epoch) this.#early.delete(member);
  }

  /** A link to another member is up. */
  linked(member: number): void {
    assert(member !== this.#self.instance && !this.#linked.has(member), 'one link to each other member');
    this.#linked.add(member);
    if (this.#view && member === this.#view.primary) this.#greet();
  }

  /** A link is lost: what the other side knows of the last messages is unknown. */
  unlinked(member: number): void {
    this.#linked.delete(member);
    this.#early.delete(member);
    const following = this.#followers.get(member);
    // Whether the view came to include a proposed joiner is not known: it stays required, and holds commits up.
    if (following?.proposed === 'open') following.prepared = undefined;
    else this.#followers.delete(member);
    // One that was only waited for holds nothing up any more.
    if (this.isPrimary) this.#advance();
    if (this.#view && member === this.#view.primary) {
      this.#followed = false;
      this.#behind = undefined;
    }
    for (const [id, { to }] of this.#submitted) {
      if (to !== member) continue;
      this.#submitted.delete(id);
      this.#effects.push({ kind: 'unsettled', id, primary: member });
    }
  }

  /** A mutation from a caller of this member. Waits while there is no primary that this member follows. */
  submit(id: string, mutation: Uint8Array): void {
    if (this.isPrimary && !this.#retiring) {
      this.#consider(this.#self.instance, id, mutation);
    } else if (this.#followed && this.#view) {
      this.#submitted.set(id, { to: this.#view.primary, mutation });
      this.#send(this.#view.primary, { type: 'submit', id, mutation });
    } else {
      this.#waiting.set(id, mutation);
    }
  }

  /** Takes back a submission that nobody has been sent: true if so, and then it certainly does not happen. */
  withdraw(id: string): boolean {
    return this.#waiting.delete(id);
  }

  /** Primary: gives back what is submitted from now on, and says `retired` once nothing is undecided. */
  retire(): void {
    if (!this.isPrimary || this.#retiring) return;
    this.#retiring = true;
    this.#sayRetired();
  }

  /** The verdict on a `judge` effect. Gives back the entry made of an accepted mutation, if it can still be taken. */
  judged(id: string, verdict: Verdict): Entry | undefined {
    const submission = this.#origins.get(id);
    // Given back meanwhile: this member orders no more, or does again and has been asked, and has answered, twice.
    if (submission === undefined || !this.#view || !this.isPrimary || this.#isPlaced(id)) return undefined;
    const { origin } = submission;
    if (!verdict.accepted) {
      this.#origins.delete(id);
      this.#refusals.push({ ...submission, id, refusal: verdict.refusal, after: this.#last.index });
      this.#answerRefusals();
      return undefined;
    }
    if (this.#tooFew()) {
      this.#origins.delete(id);
      this.#outage(origin, id, 'TooFewInSync', tooFewText(this.#view));
      return undefined;
    }
    const { time, mutation, changesHash } = verdict;
    const undecided = this.#tail.reduce((sum, entry) => sum + entry.mutation.length, mutation.length);
    if (undecided > UNDECIDED_MAX) {
      this.#origins.delete(id);
      this.#outage(origin, id, 'TooMuchUndecided', 'too many changes are under way');
      return undefined;
    }
    const { epoch } = this.#view;
    const entry = chain(this.#last, { epoch, time, mutation, changesHash });
    this.#tail.push(entry);
    this.#accepted.set(entry.index, id);
    this.#effects.push({ kind: 'append', entry });
    for (const member of this.#followers.keys()) this.#send(member, { type: 'prepare', epoch, entry });
    return entry;
  }

  /** The entry that `head` names, and all before it, are on this member's disk and proven in its slot. */
  persisted(head: Head): void {
    // An entry that was cut while it was being written counts for nothing, even if another took its place.
    const current = head.index > this.#last.index ? undefined : this.#headAt(head.index);
    if (head.index <= this.#persisted || !current || !equalBytes(current.hash, head.hash)) return;
    this.#persisted = head.index;
    this.#moved();
  }

  /** The disk knows of one more cut, and of every entry that was appended before it. */
  cutPersisted(): void {
    assert(this.#cutting > 0, 'only what was cut is confirmed');
    this.#cutting -= 1;
    if (this.#cutting === 0) this.#moved();
  }

  received(from: number, message: Message): void {
    switch (message.type) {
      case 'hello':
        if (message.epoch > this.epoch) this.#early.set(from, message);
        else if (this.isPrimary && message.epoch === this.epoch) this.#greeted(from, message);
        break;
      case 'tail':
        if (!this.#ofPrimary(from, message.epoch)) break;
        this.#follow(message);
        break;
      case 'prepare':
        if (!this.#ofPrimary(from, message.epoch)) break;
        if (this.#behind) this.#behind.push(message);
        else if (this.#followed) this.#takeEntry(message.entry);
        break;
      case 'prepared':
        if (!this.isPrimary || message.epoch !== this.epoch) break;
        this.#heardPrepared(from, message.head);
        break;
      case 'committed':
        if (!this.#ofPrimary(from, message.epoch)) break;
        if (this.#behind) this.#behind.push(message);
        else if (this.#followed) this.#heardCommitted(message.index, message.answered);
        break;
      case 'submit':
        if (this.isPrimary && !this.#retiring) this.#consider(from, message.id, message.mutation);
        else this.#send(from, { type: 'returned', id: message.id });
        break;
      case 'refused':
        if (this.#submitted.delete(message.id))
          this.#effects.push({ kind: 'refused', id: message.id, refusal: message.refusal });
        break;
      case 'returned': {
        const submission = this.#submitted.get(message.id);
        if (submission?.to !== from) break;
        this.#submitted.delete(message.id);
        // Not to the same one again: it waits for the next primary, unless this member follows that already.
        if (this.#view?.primary === from) this.#waiting.set(message.id, submission.mutation);
        else this.submit(message.id, submission.mutation);
        break;
      }
      case 'outage':
        if (this.#submitted.delete(message.id)) {
          this.#effects.push({ kind: 'outage', id: message.id, code: message.code, detail: message.detail });
        }
        break;
    }
  }

  /** Joiner: committed entries in answer to `gap`, in order, perhaps not all of them yet. */
  fill(entries: readonly Entry[]): void {
    const [tail] = this.#behind ?? [];
    if (tail?.type !== 'tail') return;
    for (const entry of entries) {
      if (entry.index <= this.#last.index || entry.index > tail.committed.index) continue;
      if (!follows(this.#last, entry)) {
        this.differs();
        return;
      }
      this.#takeEntry(entry);
      // It is the primary's, decided, and follows all that is here: what is on this disk can be applied.
      this.#decided = entry.index;
    }
    this.#commitThrough(Math.min(this.#decided, this.#durable));
    if (this.#last.index < tail.committed.index) return;
    const kept = this.#behind ?? [];
    this.#behind = undefined;
    for (const message of kept) if (this.#view) this.received(this.#view.primary, message);
  }

  /** Joiner: in answer to `gap`: the primary has another entry where this log ends. */
  differs(): void {
    const [tail] = this.#behind ?? [];
    if (tail?.type !== 'tail') return;
    if (this.#tail.length === 0) {
      this.#damaged('what was committed here is not what the pool committed');
      return;
    }
    // What was never decided goes, and what comes after the rest is asked for.
    this.#cut(this.#committed.index + 1);
    this.#effects.push({ kind: 'gap', through: tail.committed });
  }

  /** The proposal of this epoch was not taken, and never will be. */
  declined(epoch: number, { instance }: Member): void {
    const following = this.#followers.get(instance);
    if (epoch !== this.epoch || following?.proposed !== 'open') return;
    if (this.#linked.has(instance)) {
      following.proposed = 'declined';
      following.required = false;
    } else {
      this.#followers.delete(instance);
    }
    this.#advance();
  }

  /**
   * Primary: proposes again who was declined. To be called now and then: who owns the view may have heard of a proposal
   * before it heard of the joiner.
   */
  reconsider(): void {
    for (const following of this.#followers.values())
      if (following.proposed === 'declined') following.proposed = 'no';
    this.#advance();
  }

  /** A submission of this member has its answer; nothing is owed to it any more. */
  answered(id: string): void {
    this.#submitted.delete(id);
    this.#waiting.delete(id);
  }

  #isPlaced(id: string): boolean {
    for (const placed of this.#accepted.values()) if (placed === id) return true;
    return false;
  }

  #takeWaiting(): [id: string, mutation: Uint8Array][] {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    return waiting;
  }

  #tooFew(): boolean {
    return (this.#view?.inSync.length ?? 0) < REDUNDANCY;
  }

  #consider(origin: number, id: string, mutation: Uint8Array): void {
    assert(this.#view !== undefined, 'who orders has a view');
    if (this.#tooFew()) {
      this.#outage(origin, id, 'TooFewInSync', tooFewText(this.#view));
    } else if (this.#origins.has(id)) {
      this.#outage(origin, id, 'OutcomeUnknown', 'the same mutation is being decided: outcome unknown');
    } else {
      this.#origins.set(id, { origin, mutation });
      this.#effects.push({ kind: 'judge', id, mutation });
    }
  }

  // No primary any more. What has no entry goes to the next; what has one is decided there by the log.
  #giveBack(): void {
    const placed = new Set(this.#accepted.values());
    for (const [id, { origin, mutation }] of this.#origins) {
      if (!placed.has(id)) this.#return(id, origin, mutation);
      else if (origin === this.#self.instance) this.#effects.push({ kind: 'unsettled', id, primary: origin });
      else this.#outage(origin, id, 'OutcomeUnknown', 'the primary changed: outcome unknown');
    }
    for (const { id, origin, mutation } of this.#refusals) this.#return(id, origin, mutation);
    this.#origins.clear();
    this.#accepted.clear();
    this.#refusals = [];
    this.#held.clear();
  }

  #return(id: string, origin: number, mutation: Uint8Array): void {
    if (origin === this.#self.instance) this.#waiting.set(id, mutation);
    else this.#send(origin, { type: 'returned', id });
  }

  #sayRetired(): void {
    if (!this.#retiring || this.#origins.size > 0 || this.#refusals.length > 0 || !this.decided) return;
    this.#effects.push({ kind: 'retired' });
  }

  #others(): number[] {
    const all = (this.#view?.inSync ?? []).map(({ instance }) => instance);
    return all.filter((instance) => instance !== this.#self.instance);
  }

  // Primary: who must hold an entry before it is committed, besides this member.
  #required(): number[] {
    const required = new Set(this.#others());
    for (const [instance, { required: waited }] of this.#followers) if (waited) required.add(instance);
    return [...required];
  }

  #heldBy(instance: number): number {
    return this.#followers.get(instance)?.prepared ?? -1;
  }

  #missing(): number[] {
    return this.#others().filter((instance) => this.#heldBy(instance) < 0);
  }

  #greet(): void {
    assert(this.#view !== undefined, 'who follows knows whom');
    if (this.isPrimary) return;
    this.#send(this.#view.primary, { type: 'hello', epoch: this.#view.epoch, store: this.#self.store });
  }

  // Primary: somebody follows from here on. It counts as prepared only for what it confirms on this link and in this
  // view, and is sent every entry that is made after this.
  #greeted(from: number, { store }: Extract<Message, { type: 'hello' }>): void {
    const member: Member = { instance: from, store };
    const present = this.#view?.inSync.find(({ instance }) => instance === from);
    // Another store in the place of a member is a joiner once the view has dropped that member, and nothing before.
    if (present && present.store !== store) return;
    const before = this.#followers.get(from);
    const open = before?.proposed === 'open';
    this.#held.delete(from);
    this.#followers.set(from, {
      member,
      prepared: undefined,
      required: open,
      proposed: open ? 'open' : 'no',
    });
    this.#send(from, {
      type: 'tail',
      epoch: this.epoch,
      committed: this.#committed,
      answered: this.#answered,
      entries: this.#tail,
    });
  }

  // Backup or joiner: makes its undecided tail equal to the primary's.
  #follow(tail: Extract<Message, { type: 'tail' }>): void {
    const { committed, entries, answered } = tail;
    if (committed.index < this.#committed.index) {
      // The primary knows less of what is decided than this member does; it will learn from the answers. What this
      // member knows to be committed must be in the tail it was sent.
      const known = entries[this.#committed.index - committed.index - 1];
      if (!known || !equalBytes(known.hash, this.#committed.hash)) {
        if (this.isMember) this.#effects.push({ kind: 'accuse', epoch: this.epoch });
        else this.#damaged('what was committed here is not what the pool committed');
        return;
      }
    } else if (!this.isMember && this.#lacks(committed)) {
      this.#behind = [tail];
      this.#effects.push({ kind: 'gap', through: committed });
      return;
    } else if (
      committed.index > this.#last.index ||
      !equalBytes(this.#headAt(committed.index).hash, committed.hash)
    ) {
      this.#damaged('an entry that the pool committed is missing here, or differs');
      return;
    }
    this.#followed = true;
    this.#decided = Math.max(this.#committed.index, committed.index);
    for (const entry of entries) {
      if (entry.index <= this.#committed.index) continue;
      const mine = this.#tail[entry.index - this.#committed.index - 1];
      if (mine && equalBytes(mine.hash, entry.hash)) continue;
      if (mine) this.#cut(entry.index);
      this.#takeEntry(entry);
    }
    const end = entries.at(-1)?.index ?? committed.index;
    if (this.#last.index > end) this.#cut(end + 1);
    this.#heardCommitted(committed.index, answered);
    this.#reportPrepared();
    for (const [id, mutation] of this.#takeWaiting()) this.submit(id, mutation);
  }

  // Joiner: whether the log ends before this entry. A tail that cannot lead to it was never decided, and goes; one that
  // may is kept: somebody may count on its being on this disk.
  #lacks(head: Head): boolean {
    if (head.index > this.#last.index) return true;
    if (head.index === this.#committed.index || equalBytes(this.#headAt(head.index).hash, head.hash))
      return false;
    this.#cut(this.#committed.index + 1);
    return true;
  }

  #cut(index: number): void {
    assert(index > this.#committed.index, 'no committed entry is cut');
    this.#tail.length = index - this.#committed.index - 1;
    this.#persisted = Math.min(this.#persisted, index - 1);
    this.#cutting += 1;
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

  // More of the log is on this member's disk.
  #moved(): void {
    if (this.isPrimary) {
      this.#advance();
      return;
    }
    this.#commitThrough(Math.min(this.#decided, this.#durable));
    if (this.#followed) this.#reportPrepared();
  }

  #reportPrepared(): void {
    // Nothing is said while the disk holds something else than the log: a crash would bring it back.
    if (this.#cutting > 0 || !this.#view) return;
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
    const following = this.#followers.get(from);
    if (!following || !this.#linked.has(from) || head.index > this.#last.index) return;
    if (head.index >= this.#committed.index && !equalBytes(this.#headAt(head.index).hash, head.hash)) return;
    following.prepared = Math.max(head.index, following.prepared ?? 0);
    this.#held.set(from, following.prepared);
    this.#advance();
  }

  #advance(): void {
    const view = this.#view;
    if (!view || !this.isPrimary) return;
    for (const following of this.#followers.values()) this.#court(view, following);
    const held = [this.#durable, ...this.#required().map((instance) => this.#heldBy(instance))];
    const index = Math.min(...held);
    const moved = index > this.#committed.index;
    if (moved) this.#commitThrough(index);
    const answered = this.#answerable();
    const told = answered > this.#answered;
    if (told) {
      this.#answered = answered;
      this.#effects.push({ kind: 'answer', index: answered });
    }
    if (moved || told) {
      const news: Message = { type: 'committed', epoch: view.epoch, index: this.#committed.index, answered };
      for (const [member, { prepared }] of this.#followers)
        if (prepared !== undefined) this.#send(member, news);
    }
    if (!moved) return;
    this.#answerRefusals();
    for (const following of this.#followers.values()) this.#court(view, following);
    this.#sayRetired();
  }

  // A joiner that is nearly there is waited for, and proposed once it holds everything that is decided. What this
  // primary inherited may have been answered, and counts as decided.
  #court(view: View, following: Following): void {
    const { member, prepared } = following;
    if (isMember(view, member) || following.proposed !== 'no' || prepared === undefined) return;
    if (this.#committed.index < this.#inherited || this.#last.index - prepared > COURTED_BEHIND_MAX) return;
    following.required = true;
    if (prepared < this.#committed.index) return;
    following.proposed = 'open';
    this.#effects.push({ kind: 'propose', epoch: view.epoch, member });
  }

  // Through where what is committed is on enough disks, those of dropped members included.
  #answerable(): number {
    const others = [...this.#held.values()].sort((a, b) => b - a);
    const enough = others[REDUNDANCY - 2] ?? 0;
    return Math.max(this.#answered, Math.min(this.#committed.index, this.#durable, enough));
  }

  #heardCommitted(index: number, answered: number): void {
    if (index > this.#persisted && this.isMember) {
      this.#damaged(`entry ${index} was committed before it was stored here`);
      return;
    }
    this.#decided = Math.max(this.#decided, index);
    this.#commitThrough(Math.min(this.#decided, this.#durable));
    if (answered <= this.#answered) return;
    this.#answered = answered;
    this.#effects.push({ kind: 'answer', index: answered });
  }

  #commitThrough(index: number): void {
    if (index <= this.#committed.index) return;
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
      if (origin === this.#self.instance) this.#effects.push({ kind: 'refused', id, refusal });
      else this.#send(origin, { type: 'refused', id, refusal });
    }
    if (due.length > 0) this.#sayRetired();
  }

  #outage(origin: number, id: string, code: OutageCode, detail: string): void {
    if (origin === this.#self.instance) this.#effects.push({ kind: 'outage', id, code, detail });
    else this.#send(origin, { type: 'outage', id, code, detail });
  }

  #damaged(reason: string): void {
    this.#effects.push({ kind: 'damaged', reason });
  }

  #ofPrimary(from: number, epoch: number): boolean {
    return !this.isPrimary && from === this.#view?.primary && epoch === this.#view.epoch;
  }

  #send(to: number, message: Message): void {
    if (this.#linked.has(to)) this.#effects.push({ kind: 'send', to, message });
  }
}

function tooFewText({ inSync }: View): string {
  const who = inSync.map(({ instance }) => instance).join(' and ');
  return `only instance ${who} is in sync, and a change must be stored by ${REDUNDANCY} partitions: nothing was changed`;
}
