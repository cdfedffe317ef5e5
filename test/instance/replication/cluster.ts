// Three replica machines with everything around them made by hand: ordered queues for links, a disk that writes when
// it is told to, a judge that speaks when it is asked. Watches the rules that must hold whatever happens, and throws
// when one is broken.
import { Replica, type Effect, type Message } from '../../../src/instance/replication/replica.js';
import { FIXED_VIEW } from '../../../src/instance/replication/view.js';
import { decode, encode } from '../../../src/values/cbor.js';
import { EMPTY_HEAD, type Entry } from '../../../src/values/entry.js';

export type Answer = 'committed' | 'refused' | 'TooFewInSync' | 'TooMuchUndecided' | 'OutcomeUnknown';

type Write =
  { readonly kind: 'append'; readonly entry: Entry } | { readonly kind: 'cut'; readonly index: number };

/** One member: its process (absent while it is down), its memory and its disk. */
export interface Member {
  readonly id: number;
  replica: Replica | undefined;
  /** What the process holds: every entry, and through which it has applied them. */
  held: Entry[];
  committed: number;
  /** What is on the disk, and what is still to be written. */
  disk: Entry[];
  writes: Write[];
  /** Through which entry the tables on the disk go: behind `committed`, as the store's are. */
  flushed: number;
  damaged: string | undefined;
  /** Mutations that the judge has been asked about. */
  readonly judging: string[];
  /** Submissions made here that have no answer yet. */
  readonly waiting: Set<string>;
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

export class Cluster {
  readonly members: readonly Member[];
  readonly submissions = new Map<string, Submission>();
  /** Hash of every entry that any member has ever committed, by index - 1. */
  readonly decided: string[] = [];
  /** How many undecided entries have been cut. */
  cuts = 0;
  readonly #links = new Set<string>();
  readonly #queues = new Map<string, Buffer[]>();
  #acknowledged = 0;

  constructor() {
    this.members = MEMBERS.map((id) => ({
      id,
      replica: undefined,
      held: [],
      committed: 0,
      disk: [],
      writes: [],
      flushed: 0,
      damaged: undefined,
      judging: [],
      waiting: new Set(),
    }));
    for (const id of MEMBERS) this.start(id);
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

  /** Starts a member from its disk. */
  start(id: number): void {
    const member = this.member(id);
    if (member.replica) throw new Error(`member ${id} runs`);
    const base = member.disk[member.flushed - 1];
    member.held = [...member.disk];
    member.committed = member.flushed;
    member.replica = new Replica(id, FIXED_VIEW, {
      committed: base ?? EMPTY_HEAD,
      tail: member.disk.slice(member.flushed),
    });
    this.#take(member);
  }

  /** Ends a member's process: what was not on the disk is gone, but the first `written` writes had reached it. */
  crash(id: number, written = 0): void {
    const member = this.member(id);
    for (const write of member.writes.slice(0, written)) this.#write(member, write);
    member.replica = undefined;
    member.writes = [];
    member.judging.length = 0;
    member.waiting.clear();
    for (const other of MEMBERS) if (other !== id) this.cut(id, other);
  }

  /** Somebody loses a disk that the pool counts on. */
  wipe(id: number): void {
    const member = this.member(id);
    member.disk = [];
    member.flushed = 0;
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
    if (write.kind === 'append') {
      member.replica?.persisted(write.entry);
      this.#take(member);
    }
    return true;
  }

  /** The tables on the disk catch up with what is committed. */
  flush(id: number): void {
    const member = this.member(id);
    member.flushed = member.committed;
  }

  /** Delivers, writes and accepts until nothing moves. */
  settle(): void {
    for (let moved = true; moved;) {
      moved = false;
      for (const member of this.members) {
        while (this.write(member.id)) moved = true;
        for (const id of [...member.judging]) {
          this.judge(member.id, id, true);
          moved = true;
        }
      }
      for (const [from, to] of this.underway) moved = this.deliver(from, to) || moved;
    }
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
        member.held.length = effect.index - 1;
        member.writes.push({ kind: 'cut', index: effect.index });
        break;
      case 'commit':
        this.#commit(member, effect.index);
        break;
      case 'refused':
        this.#answer(member, effect.id, 'refused');
        break;
      case 'outage':
        this.#answer(member, effect.id, effect.code);
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
        const without = this.members.find(({ disk }) => hashOf(disk[entry.index - 1]) !== hash);
        if (without) throw new Error(`entry ${entry.index} is committed without being on disk ${without.id}`);
        this.decided[entry.index - 1] = hash;
      } else if (known !== hash) {
        throw new Error(`members committed different entries ${entry.index}`);
      }
      member.committed = entry.index;
      const id = idOf(entry);
      if (member.waiting.has(id)) {
        this.#answer(member, id, 'committed');
        this.#acknowledged = Math.max(this.#acknowledged, entry.index);
        member.replica?.answered(id);
      }
    }
    if (member.committed !== index) throw new Error(`member ${member.id} commits what it does not hold`);
  }

  #answer(member: Member, id: string, answer: Answer): void {
    if (!member.waiting.delete(id)) throw new Error(`${id} is answered although nobody waits for it`);
    const submission = this.submissions.get(id);
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
