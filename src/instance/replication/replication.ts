// Replication: the replica machine with its links. It decides nothing about keys and touches no disk; it offers
// steps, and one loop in the room above takes them in order.
import { randomUUID } from 'node:crypto';
import type { Entry } from '../../values/entry.js';
import type { Member, View } from '../../values/view.js';
import type { Mesh } from './mesh.js';
import { Replica, type Effect, type Log, type Message, type Verdict } from './replica.js';

export type Step =
  /**
   * Prove the mutation, judge it, answer. `answer` gives back the entry that was made of an accepted mutation, or
   * undefined when it cannot be taken any more; it must be called in the same turn as the judging.
   */
  | {
      readonly kind: 'judge';
      readonly mutation: Uint8Array;
      readonly answer: (verdict: Verdict) => Entry | undefined;
    }
  /** An entry just judged here: write it, then say so. */
  | { readonly kind: 'append'; readonly entry: Entry; readonly persisted: () => void }
  /** An entry of the primary: judge it again, prove it, write it, then say so. */
  | { readonly kind: 'prepare'; readonly entry: Entry; readonly persisted: () => void }
  /** Undecided entries from this index on are void; said once the disk knows it. */
  | { readonly kind: 'cut'; readonly index: number; readonly persisted: () => void }
  | Exclude<Effect, { kind: 'send' | 'judge' | 'append' | 'prepare' | 'cut' }>
  /** {@link Replication.inSync}, `decided`, `isPrimary` or `epoch` has changed. */
  | { readonly kind: 'standing' };

/** Another member asks for something that is not a mutation. */
export interface Asked {
  readonly from: number;
  readonly question: unknown;
  readonly reply: (answer: unknown) => void;
  readonly refuse: (reason: string) => void;
}

/** A change that waited for so long for a member holds up the pool: its disk, slot or link stands still. */
const STUCK_MS = 5_000;

type Packet =
  | { readonly type: 'replica'; readonly message: Message }
  | { readonly type: 'ask'; readonly id: string; readonly question: unknown }
  | { readonly type: 'answer'; readonly id: string; readonly answer?: unknown; readonly refused?: string };

interface Asking {
  readonly member: number;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class Replication {
  readonly #mesh: Mesh;
  #replica: Replica | undefined;
  readonly #linked = new Set<number>();
  /** What members that started first have said on their present links: a hello comes once on each. */
  #early: { readonly member: number; readonly message: Message }[] = [];
  readonly #asking = new Map<string, Asking>();
  readonly #steps = new Queue<Step>();
  readonly #questions = new Queue<Asked>();
  #standing = '';
  /** The entry that is to be committed next, and since when each of these was seen to hold it up in this view. */
  #heldUp:
    { readonly index: number; readonly epoch: number; readonly since: Map<number, number> } | undefined;
  readonly #onLink = new Set<() => void>();

  constructor(mesh: Mesh) {
    this.#mesh = mesh;
    mesh.on('linked', (member) => {
      this.#linked.add(member);
      this.#replica?.linked(member);
      this.#collect();
      for (const wake of this.#onLink) wake();
    });
    mesh.on('unlinked', (member) => {
      this.#linked.delete(member);
      this.#early = this.#early.filter((early) => early.member !== member);
      this.#replica?.unlinked(member);
      this.#collect();
      for (const [id, asking] of this.#asking) {
        if (asking.member !== member) continue;
        this.#asking.delete(id);
        asking.reject(new Error(`the link to instance ${member} was lost`));
      }
    });
    mesh.on('message', (member, packet) => this.#received(member, packet as Packet));
  }

  /** Takes part from now on, with the log as it is on the disk, all of it proven; the first view comes after. */
  start(self: Member, log: Log): void {
    this.#replica = new Replica(self, log);
    for (const member of this.#linked) this.#replica.linked(member);
    for (const { member, message } of this.#early) this.#replica.received(member, message);
    this.#early = [];
    this.#collect();
  }

  /** The view has changed; its epoch is on the disk. */
  adopt(view: View): void {
    this.#replica?.adopt(view);
    this.#collect();
  }

  /** Committed entries in answer to a `gap` step. */
  fill(entries: readonly Entry[]): void {
    this.#replica?.fill(entries);
    this.#collect();
  }

  /** In answer to a `gap` step: the primary has another entry where this log ends. */
  differs(): void {
    this.#replica?.differs();
    this.#collect();
  }

  /** In answer to a `propose` step: it was not taken. */
  declined(epoch: number, member: Member): void {
    this.#replica?.declined(epoch, member);
    this.#collect();
  }

  /** Proposes again who was declined; to be called now and then. */
  reconsider(): void {
    this.#replica?.reconsider();
    this.#collect();
  }

  /** Takes no more changes; a `retired` step comes once nothing is undecided. */
  retire(): void {
    this.#replica?.retire();
    this.#collect();
  }

  /** Takes back a submission that no primary was sent: true if so, and then it certainly does not happen. */
  withdraw(id: string): boolean {
    return this.#replica?.withdraw(id) ?? true;
  }

  /** Epoch of the view that this member goes by; 0 before the first. */
  get epoch(): number {
    return this.#replica?.epoch ?? 0;
  }

  /** This member orders. */
  get isPrimary(): boolean {
    return this.#replica?.isPrimary ?? false;
  }

  /** There is a link to whom this member follows. */
  get reachesPrimary(): boolean {
    const primary = this.#replica?.primary;
    return primary !== undefined && this.#linked.has(primary);
  }

  /** The view includes this member. */
  get isMember(): boolean {
    return this.#replica?.isMember ?? false;
  }

  /** Instances that there is a link to. */
  get reach(): number[] {
    return [...this.#linked];
  }

  /** Instances, this one among them perhaps, that a change has waited for too long. `now` in milliseconds. */
  stuck(now: number): readonly number[] {
    const held = this.#replica?.heldUpBy;
    if (held === undefined) {
      this.#heldUp = undefined;
      return [];
    }
    const { epoch } = this;
    const before =
      this.#heldUp?.index === held.index && this.#heldUp.epoch === epoch ? this.#heldUp : undefined;
    // Each by itself: with a new view all are asked again, and whoever is about to answer has held up nothing yet.
    const since = new Map(held.instances.map((instance) => [instance, before?.since.get(instance) ?? now]));
    this.#heldUp = { index: held.index, epoch, since };
    return held.instances.filter((instance) => now - (since.get(instance) ?? now) >= STUCK_MS);
  }

  /** In the view, with every member that this one depends on in step. */
  get inSync(): boolean {
    return this.#replica?.inSync ?? false;
  }

  /** Nothing in the log is undecided. */
  get decided(): boolean {
    return this.#replica?.decided ?? false;
  }

  /** Hands a mutation to the primary. Its outcome comes as a step: `commit`, `refused` or `outage`. */
  submit(id: string, mutation: Uint8Array): void {
    this.#replica?.submit(id, mutation);
    this.#collect();
  }

  /** The outcome of a submission has reached its caller. */
  answered(id: string): void {
    this.#replica?.answered(id);
  }

  /** Resolves once there is a link to the member. */
  async linked(member: number): Promise<void> {
    while (!this.#linked.has(member)) {
      await new Promise<void>((resolve) => {
        const wake = () => {
          this.#onLink.delete(wake);
          resolve();
        };
        this.#onLink.add(wake);
      });
    }
  }

  /** Asks a member, once it is linked. Rejects with its refusal, or when the link is lost before the answer. */
  async ask(member: number, question: unknown): Promise<unknown> {
    await this.linked(member);
    const id = randomUUID();
    return new Promise((resolve, reject) => {
      this.#asking.set(id, { member, resolve, reject });
      this.#post(member, { type: 'ask', id, question });
    });
  }

  /** The steps, in order, for one loop. */
  steps(): AsyncGenerator<Step, never> {
    return this.#steps.items();
  }

  /** What other members ask, for one loop; this member need not take part yet. */
  questions(): AsyncGenerator<Asked, never> {
    return this.#questions.items();
  }

  #received(member: number, packet: Packet): void {
    switch (packet.type) {
      case 'replica':
        if (this.#replica) {
          this.#replica.received(member, packet.message);
          this.#collect();
        } else {
          this.#early.push({ member, message: packet.message });
        }
        break;
      case 'ask': {
        const { id, question } = packet;
        this.#questions.push({
          from: member,
          question,
          reply: (answer) => this.#post(member, { type: 'answer', id, answer }),
          refuse: (reason) => this.#post(member, { type: 'answer', id, refused: reason }),
        });
        break;
      }
      case 'answer': {
        const asking = this.#asking.get(packet.id);
        if (asking?.member !== member) break;
        this.#asking.delete(packet.id);
        if (packet.refused === undefined) asking.resolve(packet.answer);
        else asking.reject(new Error(packet.refused));
        break;
      }
    }
  }

  #collect(): void {
    const replica = this.#replica;
    if (!replica) return;
    for (const effect of replica.take()) {
      switch (effect.kind) {
        case 'send':
          this.#post(effect.to, { type: 'replica', message: effect.message });
          break;
        case 'judge':
          this.#offer({
            kind: 'judge',
            mutation: effect.mutation,
            answer: (verdict) => {
              const entry = replica.judged(effect.id, verdict);
              this.#collect();
              return entry;
            },
          });
          break;
        case 'append':
        case 'prepare':
          this.#offer({
            kind: effect.kind,
            entry: effect.entry,
            persisted: () => {
              replica.persisted(effect.entry);
              this.#collect();
            },
          });
          break;
        case 'cut':
          this.#offer({
            kind: 'cut',
            index: effect.index,
            persisted: () => {
              replica.cutPersisted();
              this.#collect();
            },
          });
          break;
        case 'commit':
        case 'answer':
        case 'refused':
        case 'outage':
        case 'unsettled':
        case 'gap':
        case 'propose':
        case 'accuse':
        case 'retired':
        case 'damaged':
          this.#offer(effect);
          break;
      }
    }
    const { inSync, decided, isPrimary, epoch } = replica;
    const standing = JSON.stringify([inSync, decided, isPrimary, epoch]);
    if (standing === this.#standing) return;
    this.#standing = standing;
    this.#offer({ kind: 'standing' });
  }

  #post(member: number, packet: Packet): void {
    this.#mesh.send(member, packet);
  }

  #offer(step: Step): void {
    this.#steps.push(step);
  }
}

/** Waits for what one loop takes in order. */
class Queue<T> {
  readonly #waiting: T[] = [];
  #wake: (() => void) | undefined;

  push(item: T): void {
    this.#waiting.push(item);
    this.#wake?.();
    this.#wake = undefined;
  }

  async *items(): AsyncGenerator<T, never> {
    for (;;) {
      const item = this.#waiting.shift();
      if (item !== undefined) yield item;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
