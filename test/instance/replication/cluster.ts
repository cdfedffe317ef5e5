// Three replica machines with everything around them made by hand: ordered queues for links, a disk that writes when
// it is told to, a judge that speaks when it is asked, an authority that names views. Watches the rules that must hold
// whatever happens, and throws when one is broken.
import { Replica, type Effect, type Message } from '../../../src/instance/replication/replica.js';
import { decode, encode } from '../../../src/values/cbor.js';
import { EMPTY_HEAD, type Entry } from '../../../src/values/entry.js';
import { isMember, type Member as Place, type View } from '../../../src/values/view.js';

export type Answer =
  'committed' | 'refused' | 'TooFewInSync' | 'TooMuchUndecided' | 'OutcomeUnknown' | 'withdrawn';

type Write =
  { readonly kind: 'append'; readonly entry: Entry } | { readonly kind: 'cut'; readonly index: number };

/** One instance: its process (absent while it is down), its memory and its disk. */
export interface Member {
  readonly id: number;
  replica: Replica | undefined;
  /** The store on its disk; another one after a wipe. */
  store: string;
  /** What the process holds: every entry, and through which it has applied them. */
  held: Entry[];
  committed: number;
  /** What is on the disk, and what is still to be written. */
  disk: Entry[];
  writes: Write[];
  /** Through which entry the tables on the disk go: behind `committed`, as the store's are. */
  flushed: number;
  damaged: string | undefined;
  /** Views that it has been told and not heard yet. */
  readonly views: View[];
  /** Joiner: through which entry the primary was asked for what is missing. */
  gap: { readonly through: number; readonly epoch: number } | undefined;
  /** Mutations that the judge has been asked about. */
  readonly judging: string[];
  /** Submissions made here that have no answer yet. */
  readonly waiting: Set<string>;
  /** Own submissions that are committed, by index, and not to be answered yet. */
  readonly unanswered: Map<string, number>;
  answered: number;
  retired: boolean;
}

/** A submission: what was answered, and what was true then. */
export interface Submission {
  readonly at: number;
  answer: Answer | undefined;
  /** Entries that were known to be committed by an answer when this was submitted. */
  readonly after: number;
  /** What the judge saw when it refused. */
  seen: readonly string[] | undefined;
}

export const MEMBERS = [0, 1, 2] as const;
export const PAIRS = [
  [0, 1],
  [0, 2],
  [1, 2],
] as const;

/** What the authority does with what members tell it. */
export interface Proposal {
  readonly from: number;
  readonly epoch: number;
  readonly member: Place;
}

export class Cluster {
  readonly members: readonly Member[];
  readonly submissions = new Map<string, Submission>();
  /** Hash of every entry that any member has ever committed, by index - 1. */
  readonly decided: string[] = [];
  /** How many undecided entries have been cut. */
  cuts = 0;
  /** The authority's own: the present view, and what it has been asked and not looked at. */
  view: View;
  readonly proposals: Proposal[] = [];
  readonly accused = new Set<number>();
  readonly #links = new Set<string>();
  readonly #queues = new Map<string, Buffer[]>();
  /** Who committed first what was not committed before, by epoch. */
  readonly #orderers = new Map<number, number>();
  #stores = 0;
  #acknowledged = 0;

  constructor() {
    this.members = MEMBERS.map((id) => ({
      id,
      replica: undefined,
      store: this.#newStore(),
      held: [],
      committed: 0,
      disk: [],
      writes: [],
      flushed: 0,
      damaged: undefined,
      views: [],
      gap: undefined,
      judging: [],
      waiting: new Set(),
      unanswered: new Map(),
      answered: 0,
      retired: false,
    }));
    this.view = {
      epoch: 1,
      primary: 0,
      inSync: this.members.map(({ id, store }) => ({ instance: id, store })),
    };
    for (const id of MEMBERS) {
      this.start(id);
      this.hear(id);
    }
  }

  member(id: number): Member {
    const member = this.members[id];
    if (!member) throw new Error(`no member ${id}`);
    return member;
  }

  /** The machine of a member that runs. */
  replica(id: number): Replica {
    const { replica } = this.member(id);
    if (!replica) throw new Error(`member ${id} is down`);
    return replica;
  }

  /** Whether the present view counts on the store that an instance has. */
  counts(id: number): boolean {
    return isMember(this.view, { instance: id, store: this.member(id).store });
  }

  /** Starts a member from its disk. */
  start(id: number): void {
    const member = this.member(id);
    if (member.replica) throw new Error(`member ${id} runs`);
    // What a process proposed that is gone by now was decided before anybody could start it anew.
    this.proposals.splice(0, Infinity, ...this.proposals.filter(({ from }) => from !== id));
    const base = member.disk[member.flushed - 1];
    member.held = [...member.disk];
    member.committed = member.flushed;
    member.answered = member.flushed;
    member.replica = new Replica(
      { instance: id, store: member.store },
      { committed: base ?? EMPTY_HEAD, tail: member.disk.slice(member.flushed) },
    );
    member.views.splice(0, member.views.length, this.view);
    this.#take(member);
  }

  /** Ends a member's process: what was not on the disk is gone, but the first `written` writes had reached it. */
  crash(id: number, written = 0): void {
    const member = this.member(id);
    for (const write of member.writes.slice(0, written)) this.#write(member, write);
    member.replica = undefined;
    member.writes = [];
    member.gap = undefined;
    member.damaged = undefined;
    member.retired = false;
    member.views.length = 0;
    member.judging.length = 0;
    member.waiting.clear();
    member.unanswered.clear();
    for (const other of MEMBERS) if (other !== id) this.cut(id, other);
  }

  /** Somebody loses a disk. */
  wipe(id: number): void {
    const member = this.member(id);
    member.disk = [];
    member.flushed = 0;
    member.store = this.#newStore();
  }

  /** The authority drops a member whose process is gone, unless nobody would be left; true if it did. */
  drop(id: number): boolean {
    if (this.member(id).replica) throw new Error('its lease may not have ended');
    const rest = this.view.inSync.filter(({ instance }) => instance !== id);
    if (rest.length === 0 || rest.length === this.view.inSync.length) return false;
    const stays = rest.some(({ instance }) => instance === this.view.primary);
    const living = rest.find(({ instance }) => this.member(instance).replica) ?? rest[0];
    this.#announce(stays ? this.view.primary : (living?.instance ?? 0), rest);
    return true;
  }

  /** The authority looks at the oldest proposal; false when there is none. */
  decide(): boolean {
    const proposal = this.proposals.shift();
    if (!proposal) return false;
    const { from, epoch, member } = proposal;
    const { store, replica } = this.member(member.instance);
    if (epoch === this.view.epoch && replica && store === member.store && !isMember(this.view, member)) {
      const inSync = [...this.view.inSync, member].sort((a, b) => a.instance - b.instance);
      this.#announce(this.view.primary, inSync);
    } else if (this.member(from).replica) {
      this.replica(from).declined(epoch, member);
      this.#take(this.member(from));
    }
    return true;
  }

  /** The authority has not heard of whom the oldest proposal is about; false when there is none. */
  decline(): boolean {
    const proposal = this.proposals.shift();
    if (!proposal) return false;
    const { from, epoch, member } = proposal;
    if (this.member(from).replica) {
      this.replica(from).declined(epoch, member);
      this.#take(this.member(from));
    }
    return true;
  }

  /** A primary proposes again who was declined. */
  reconsider(id: number): void {
    this.replica(id).reconsider();
    this.#take(this.member(id));
  }

  /** The authority makes another member of the view the primary. */
  name(id: number): void {
    if (!this.counts(id)) throw new Error('only a member orders');
    this.#announce(id, this.view.inSync);
  }

  /** The authority has started anew: the same view, with another epoch. */
  renew(): void {
    this.#announce(this.view.primary, this.view.inSync);
  }

  /** A member hears the next view that it was told; false when there is none. One that was dropped ends. */
  hear(id: number): boolean {
    const member = this.member(id);
    const view = member.views.shift();
    if (!view || !member.replica) return false;
    const place = { instance: id, store: member.store };
    if (member.replica.isMember && !isMember(view, place)) {
      this.crash(id);
      return true;
    }
    member.retired = false;
    member.replica.adopt(view);
    this.#take(member);
    return true;
  }

  /** The primary sends a joiner some of what it lacks. */
  fill(id: number, count = Infinity): boolean {
    const member = this.member(id);
    const { gap, replica } = member;
    if (!gap || !replica) return false;
    const primary = this.member(this.view.primary);
    if (gap.epoch !== replica.epoch || !primary.replica) {
      member.gap = undefined;
      return true;
    }
    const end = Math.min(gap.through, member.held.length + count);
    const entries = primary.held.slice(member.held.length, Math.min(end, primary.committed));
    if (member.held.length + entries.length >= gap.through) member.gap = undefined;
    replica.fill(entries);
    this.#take(member);
    return true;
  }

  retire(id: number): void {
    this.replica(id).retire();
    this.#take(this.member(id));
  }

  linked(a: number, b: number): boolean {
    return this.#links.has(nameOf(a, b));
  }

  link(a: number, b: number): void {
    if (this.linked(a, b)) throw new Error('linked already');
    this.#links.add(nameOf(a, b));
    for (const [self, other] of [
      [a, b],
      [b, a],
    ] as const) {
      this.replica(self).linked(other);
      this.#take(this.member(self));
    }
  }

  /** Cuts a link; what was on its way is lost. */
  cut(a: number, b: number): void {
    if (!this.#links.delete(nameOf(a, b))) return;
    for (const [self, other] of [
      [a, b],
      [b, a],
    ] as const) {
      this.#queues.delete(`${self}>${other}`);
      const member = this.member(self);
      member.replica?.unlinked(other);
      this.#take(member);
    }
  }

  /** Directions in which messages are on their way. */
  get underway(): readonly (readonly [from: number, to: number])[] {
    return [...this.#queues].filter(([, queue]) => queue.length > 0).map(([name]) => directionOf(name));
  }

  /** Delivers the next message; false when there is none. */
  deliver(from: number, to: number): boolean {
    const message = this.#queues.get(`${from}>${to}`)?.shift();
    if (!message) return false;
    const member = this.member(to);
    member.replica?.received(from, decode(message) as Message);
    this.#take(member);
    return true;
  }

  submit(id: string, at: number): void {
    const replica = this.replica(at);
    this.submissions.set(id, { at, answer: undefined, after: this.#acknowledged, seen: undefined });
    this.member(at).waiting.add(id);
    replica.submit(id, Buffer.from(id));
    this.#take(this.member(at));
  }

  /** The caller's patience has ended before there was a primary; false when one has been asked. */
  withdraw(id: string): boolean {
    const at = this.submissions.get(id)?.at ?? 0;
    const member = this.member(at);
    if (!member.waiting.has(id) || !member.replica?.withdraw(id)) return false;
    this.#answer(member, id, 'withdrawn');
    return true;
  }

  /** The judge speaks. */
  judge(at: number, id: string, accepted: boolean): void {
    const member = this.member(at);
    const place = member.judging.indexOf(id);
    if (place < 0) throw new Error(`nobody asked about ${id}`);
    member.judging.splice(place, 1);
    const submission = this.submissions.get(id);
    if (submission && !accepted) submission.seen = member.held.map(hashOf);
    this.replica(at).judged(
      id,
      accepted
        ? { accepted, time: 0, mutation: Buffer.from(id), changesHash: Buffer.alloc(32) }
        : { accepted, refusal: 'no' },
    );
    this.#take(member);
  }

  /** The disk does its next write and says so; false when there is none. */
  write(id: number): boolean {
    const member = this.member(id);
    const write = member.writes.shift();
    if (!write) return false;
    this.#write(member, write);
    if (write.kind === 'append') member.replica?.persisted(write.entry);
    else member.replica?.cutPersisted();
    this.#take(member);
    return true;
  }

  /** The tables on the disk catch up with what is committed. */
  flush(id: number): void {
    const member = this.member(id);
    if (member.disk.length >= member.committed) member.flushed = member.committed;
  }

  /** Tells, delivers, writes, decides and accepts until nothing moves. */
  settle(): void {
    for (let moved = true; moved;) {
      moved = false;
      for (const member of this.members) {
        while (this.hear(member.id)) moved = true;
        while (this.fill(member.id)) moved = true;
        while (this.write(member.id)) moved = true;
        for (const id of [...member.judging]) {
          this.judge(member.id, id, true);
          moved = true;
        }
      }
      while (this.decide()) moved = true;
      for (const [from, to] of this.underway) moved = this.deliver(from, to) || moved;
    }
  }

  /** Every member that may serve: it goes by the present view, and is in it. */
  get serving(): readonly Member[] {
    return this.members.filter(({ replica }) => replica?.isMember && replica.epoch === this.view.epoch);
  }

  /** What must hold at every moment. */
  check(): void {
    for (const { id, damaged } of this.members) {
      if (damaged !== undefined) throw new Error(`member ${id} is damaged: ${damaged}`);
    }
    // A read at any member that may serve finds what was acknowledged: committed, or undecided, and then it waits.
    for (const { id, held } of this.serving) {
      if (held.length < this.#acknowledged)
        throw new Error(`member ${id} would not see what was acknowledged`);
    }
  }

  #announce(primary: number, inSync: readonly Place[]): void {
    this.view = { epoch: this.view.epoch + 1, primary, inSync };
    this.accused.clear();
    for (const member of this.members) if (member.replica) member.views.push(this.view);
  }

  #newStore(): string {
    return `s${(this.#stores += 1)}`;
  }

  // What a member's machine wants done.
  #take(member: Member): void {
    for (const effect of member.replica?.take() ?? []) this.#carryOut(member, effect);
  }

  #carryOut(member: Member, effect: Effect): void {
    switch (effect.kind) {
      case 'send': {
        if (!this.linked(member.id, effect.to)) throw new Error('a message to nobody');
        const name = `${member.id}>${effect.to}`;
        const queue = this.#queues.get(name) ?? [];
        // As the mesh does: what is sent is what was true at that moment.
        queue.push(encode(effect.message));
        this.#queues.set(name, queue);
        break;
      }
      case 'judge':
        member.judging.push(effect.id);
        break;
      case 'append':
      case 'prepare':
        if (effect.entry.index !== member.held.length + 1) throw new Error('a gap in the log');
        member.held.push(effect.entry);
        member.writes.push({ kind: 'append', entry: effect.entry });
        break;
      case 'cut':
        if (effect.index <= member.committed)
          throw new Error(`member ${member.id} cuts committed entry ${effect.index}`);
        this.cuts += member.held.length - effect.index + 1;
        for (const entry of member.held.slice(effect.index - 1)) {
          if (member.waiting.has(idOf(entry))) this.#answer(member, idOf(entry), 'OutcomeUnknown');
        }
        member.held.length = effect.index - 1;
        member.writes.push({ kind: 'cut', index: effect.index });
        break;
      case 'commit':
        this.#commit(member, effect.index);
        break;
      case 'answer':
        member.answered = effect.index;
        this.#answerCommitted(member);
        break;
      case 'refused':
        this.#answer(member, effect.id, 'refused');
        break;
      case 'outage':
        this.#answer(member, effect.id, effect.code);
        break;
      case 'unsettled':
        if (!member.held.some((entry) => idOf(entry) === effect.id) && member.waiting.has(effect.id))
          this.#answer(member, effect.id, 'OutcomeUnknown');
        break;
      case 'gap':
        member.gap = { through: effect.through.index, epoch: member.replica?.epoch ?? 0 };
        break;
      case 'propose':
        this.proposals.push({ from: member.id, epoch: effect.epoch, member: effect.member });
        break;
      case 'accuse':
        if (effect.epoch === this.view.epoch) this.accused.add(this.view.primary);
        break;
      case 'retired':
        member.retired = true;
        break;
      case 'damaged':
        member.damaged ??= effect.reason;
        break;
    }
  }

  #commit(member: Member, index: number): void {
    for (const entry of member.held.slice(member.committed, index)) {
      const hash = hashOf(entry);
      const known = this.decided[entry.index - 1];
      if (known === undefined) {
        this.#first(member, entry);
        this.decided[entry.index - 1] = hash;
      } else if (known !== hash) {
        throw new Error(`members committed different entries ${entry.index}`);
      }
      member.committed = entry.index;
      if (member.waiting.has(idOf(entry))) member.unanswered.set(idOf(entry), entry.index);
    }
    if (member.committed !== index) throw new Error(`member ${member.id} commits what it does not hold`);
    this.#answerCommitted(member);
  }

  // The first to commit an entry is a primary, the only one in its epoch, and every member of its view has the entry.
  #first(member: Member, entry: Entry): void {
    const { replica } = member;
    if (!replica?.isPrimary) throw new Error(`entry ${entry.index} is first committed by a backup`);
    const orderer = this.#orderers.get(replica.epoch);
    if (orderer !== undefined && orderer !== member.id)
      throw new Error(`two primaries commit in epoch ${replica.epoch}`);
    this.#orderers.set(replica.epoch, member.id);
    if (replica.epoch !== this.view.epoch) return;
    for (const { instance, store } of this.view.inSync) {
      const { disk, store: present } = this.member(instance);
      if (store === present && hashOf(disk[entry.index - 1]) !== hashOf(entry))
        throw new Error(`entry ${entry.index} is committed without being on disk ${instance}`);
    }
  }

  #answerCommitted(member: Member): void {
    for (const [id, index] of [...member.unanswered]) {
      if (index > member.answered) continue;
      member.unanswered.delete(id);
      const copies = this.members.filter(({ disk }) => hashOf(disk[index - 1]) === this.decided[index - 1]);
      // Disks may have been lost since it was written; those that are not are counted by who loses them.
      if (copies.length < 2 - this.#lost) throw new Error(`${id} is answered and on ${copies.length} disks`);
      this.#acknowledged = Math.max(this.#acknowledged, index);
      this.#answer(member, id, 'committed');
    }
  }

  /** Disks that were lost so far: what was on two may be on one. */
  #lost = 0;

  /** Somebody outside the view loses its disk. */
  lose(id: number): void {
    if (this.counts(id)) throw new Error('the pool counts on it');
    this.#lost += 1;
    this.wipe(id);
  }

  /** Somebody puts back an image of the disk from before the first entry: the same store. */
  age(id: number): void {
    const member = this.member(id);
    member.disk = [];
    member.flushed = 0;
  }

  #answer(member: Member, id: string, answer: Answer): void {
    const submission = this.submissions.get(id);
    // Who was told that nobody knows waits no longer.
    if (submission?.answer === 'OutcomeUnknown') return;
    if (!member.waiting.delete(id)) throw new Error(`${id} is answered although nobody waits for it`);
    member.replica?.answered(id);
    if (!submission) return;
    submission.answer = answer;
    if (answer !== 'refused') return;
    const undecided = submission.seen?.find((hash) => !this.decided.includes(hash));
    if (undecided !== undefined) throw new Error(`${id} was refused because of what is not decided`);
  }

  #write(member: Member, write: Write): void {
    if (write.kind === 'cut') {
      member.disk.length = Math.min(member.disk.length, write.index - 1);
      return;
    }
    if (write.entry.index !== member.disk.length + 1) throw new Error(`a gap on disk ${member.id}`);
    member.disk.push(write.entry);
  }
}

/** The submission that an entry came from. */
export function idOf(entry: Entry): string {
  return Buffer.from(entry.mutation).toString();
}

function hashOf(entry: Entry | undefined): string {
  return entry ? Buffer.from(entry.hash).toString('hex') : '';
}

function nameOf(a: number, b: number): string {
  return `${Math.min(a, b)}-${Math.max(a, b)}`;
}

function directionOf(name: string): readonly [from: number, to: number] {
  const [from, to] = name.split('>').map(Number);
  return [from ?? 0, to ?? 0];
}
