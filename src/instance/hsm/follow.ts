// Following the log: the one loop that takes the steps of replication, on primary and backup alike. Every change of
// state goes through here; every read looks here for what is undecided.
import { assert, unreachable } from '../../values/assert.js';
import { equalBytes } from '../../values/bytes.js';
import { decode, encode } from '../../values/cbor.js';
import type { Entry, Head } from '../../values/entry.js';
import type { Seconds } from '../../values/moments.js';
import { judge, type Tag } from '../model/judge.js';
import { sealedIn, type DomainRestored, type Mutation } from '../model/mutation.js';
import { POOL, TRANSFER } from '../model/pool.js';
import { Refusal, RefusedError, type RefusalCode } from '../model/refusal.js';
import type { State, Tables } from '../model/state.js';
import type { Partition } from '../partition/partition.js';
import type { Verdict } from '../replication/replica.js';
import type { Replication, Step } from '../replication/replication.js';
import type { Member, View } from '../../values/view.js';
import type { Store } from '../store/store.js';
import { checkSlot } from './check-slot.js';
import { DirectoryUnusable, usable } from './directory-unusable.js';
import type { Domains } from './domains.js';
import type { Committed } from './hsm.js';
import { Outage } from './outage.js';
import { hashOfChanges, Tail, type Item } from './tail.js';

/** How long a caller waits for the outcome of a mutation. */
const OUTCOME_MS = 10_000;
/** The same for a restored domain, for which every member makes a token. */
const RESTORED_MS = 60_000;
/** How long a submission waits for a primary: longer than it takes to find that one is lost and to name another. */
const PRIMARY_MS = 4_000;

interface Submission {
  readonly resolve: (committed: Committed) => void;
  readonly reject: (error: Error) => void;
  timer: NodeJS.Timeout;
}

/** What only the owner of the view can do; told, and never waited for. */
export interface Authority {
  propose(epoch: number, member: Member): void;
  accuse(epoch: number): void;
  retired(): void;
}

type StepOf<K extends Step['kind']> = Extract<Step, { kind: K }>;

/** What the log asks of this instance's tokens. */
export type TokenChanges = Pick<Domains, 'stage' | 'open' | 'keepOnly' | 'discard'>;

interface Parts {
  readonly store: Store<Tables>;
  readonly partition: Partition;
  readonly replication: Replication;
  readonly domains: TokenChanges;
}

interface Running {
  readonly authority: Authority;
  /** Called when links, decidedness or view have changed. */
  readonly standing: () => void;
  /**
   * Committed entries after this head, from the primary, on the way `through` an entry; never empty, undefined when its
   * log has another entry there.
   */
  readonly fetch: (after: Head, through: number) => Promise<readonly Entry[] | undefined>;
}

/** Undefined when there is nothing to open. */
type Proof = (() => Promise<void>) | undefined;

export class Follower {
  readonly #store: Store<Tables>;
  readonly #partition: Partition;
  readonly #replication: Replication;
  readonly #domains: TokenChanges;
  readonly #tail: Tail;
  readonly #submissions = new Map<string, Submission>();
  /** Own submissions that are committed and applied, and not yet on enough disks to be answered. */
  #unanswered: { readonly index: number; readonly answer: () => void }[] = [];
  /** Through where what is committed may be answered. */
  #answered = 0;
  /** Joiner: told when this entry is applied. */
  #awaited: { readonly index: number; readonly resolve: () => void } | undefined;
  #adopting: Promise<void> = Promise.resolve();
  /** Of what is applied. */
  #committed: Head;
  /** Of what is held. */
  #last: Head;
  #lastTime: Seconds;
  /** Writes and proofs end in any order; what is said of them must not. */
  #persisting: Promise<void> = Promise.resolve();
  #fail: (error: Error) => void = () => undefined;

  private constructor(
    { store, partition, replication, domains }: Parts,
    head: Head & { readonly time: Seconds },
  ) {
    this.#store = store;
    this.#partition = partition;
    this.#replication = replication;
    this.#domains = domains;
    this.#tail = new Tail(store.state);
    this.#committed = this.#last = { index: head.index, hash: head.hash };
    this.#lastTime = head.time;
  }

  /** Reads and proves what the log holds, then takes part; the view is {@link adopt}ed later. */
  static async start(instance: number, parts: Parts): Promise<Follower> {
    const { base, tail } = parts.store.readLog();
    const follower = new Follower(parts, base);
    await usable('the log cannot be taken up', () => follower.#proveTail(tail));
    const member = { instance, store: parts.store.id };
    parts.replication.start(member, { committed: { index: base.index, hash: base.hash }, tail });
    return follower;
  }

  /** Goes by this view once its epoch is on the disk: who owns the view must never be behind what was acted upon. */
  adopt(view: View): void {
    this.#adopting = this.#adopting.then(async () => {
      await this.#store.setEpoch(view.epoch);
      this.#replication.adopt(view);
    });
    this.#adopting.catch(this.#fail);
  }

  // With the token of the domain that the state names. What comes after the restoring of another is wrapped under
  // that one, and shows that the restoring was committed: nothing is sealed in a pool that is not active.
  async #proveTail(tail: readonly Entry[]): Promise<void> {
    const { state } = this.#store;
    let current = state.get('pool', POOL)?.securityDomain;
    if (current !== undefined) await this.#domains.open(current);
    const exportKey = state.get('internal', 'export-wrapping');
    if (exportKey) this.#partition.learnExportKey(exportKey.sealed);
    let restored: DomainRestored | undefined;
    for (const entry of tail) {
      const { item, proof } = this.#check(entry);
      const { mutation } = item;
      if (mutation.kind === 'PoolFounded') await this.#domains.open((current = mutation.securityDomain));
      if (restored && proof) await this.#openDomain(restored);
      await proof?.();
      if (mutation.kind === 'DomainRestored') restored = mutation;
    }
    if (current === undefined) return;
    await this.#domains.keepOnly(restored ? [current, restored.securityDomain] : [current]);
  }

  /** Committed state. */
  get state(): State {
    return this.#store.state;
  }

  /** Mutations in the log that are not committed yet. */
  get undecided(): number {
    return this.#tail.items.length;
  }

  settled(tags: readonly (Tag | 'keys')[]): Promise<void> | undefined {
    return this.#tail.settled(tags);
  }

  submit(mutation: Mutation): Promise<Committed> {
    return new Promise((resolve, reject) => {
      const give = (outage: Outage) => this.#settle(mutation.id, ({ reject: fail }) => fail(outage));
      const late = () =>
        give(
          new Outage('OutcomeUnknown', 'the change was submitted, but not decided in time: outcome unknown'),
        );
      const timer = setTimeout(() => {
        if (this.#replication.withdraw(mutation.id)) {
          give(new Outage('TooFewInSync', 'no primary could be reached: nothing was changed'));
          return;
        }
        const submission = this.#submissions.get(mutation.id);
        if (!submission) return;
        const whole = mutation.kind === 'DomainRestored' ? RESTORED_MS : OUTCOME_MS;
        submission.timer = setTimeout(late, whole - PRIMARY_MS);
        submission.timer.unref();
      }, PRIMARY_MS);
      // It keeps no process that is done with everything else.
      timer.unref();
      this.#submissions.set(mutation.id, { resolve, reject, timer });
      this.#replication.submit(mutation.id, encode(mutation));
    });
  }

  /** Takes the steps until something breaks that the instance must not survive; rejects with the reason. */
  run(running: Running): Promise<never> {
    return new Promise((_resolve, reject) => {
      this.#fail = reject;
      this.#adopting.catch(reject);
      this.#loop(running).catch(reject);
    });
  }

  async #loop({ authority, standing, fetch }: Running): Promise<never> {
    for await (const step of this.#replication.steps()) {
      switch (step.kind) {
        case 'judge':
          void this.#judge(step).catch(this.#fail);
          break;
        case 'append':
          this.#persist(step, []);
          break;
        case 'prepare': {
          const { proof } = this.#check(step.entry);
          this.#persist(step, proof ? [this.#prove(step.entry.index, proof)] : []);
          break;
        }
        case 'commit':
          this.#commit(step.index);
          break;
        case 'cut':
          this.#cut(step);
          break;
        case 'answer':
          this.#answer(step.index);
          break;
        case 'unsettled':
          this.#unsettle(step.id, step.primary);
          break;
        case 'gap':
          this.#fill(step.through.index, fetch).catch(this.#fail);
          break;
        case 'propose':
          authority.propose(step.epoch, step.member);
          break;
        case 'accuse':
          authority.accuse(step.epoch);
          break;
        case 'retired':
          authority.retired();
          break;
        case 'refused':
          this.#settle(step.id, ({ reject }) => reject(new RefusedError(readRefusal(step.refusal))));
          break;
        case 'outage':
          this.#settle(step.id, ({ reject }) => reject(new Outage(step.code, step.detail)));
          break;
        case 'standing':
          standing();
          break;
        case 'damaged':
          throw new Error(step.reason);
        default:
          unreachable(step);
      }
    }
    throw new Error('replication has ended');
  }

  // Primary: the slow part first, then judging, index and entry in one turn.
  async #judge(step: StepOf<'judge'>): Promise<void> {
    const mutation = decode(step.mutation) as Mutation;
    const proof = this.#proofOf(mutation);
    if (proof) {
      try {
        await proof();
      } catch {
        // A bad blob is refused; a primary whose slot opens nothing any more must not decide what is one.
        await checkSlot(this.#store.state, this.#partition);
        step.answer({ accepted: false, refusal: plain(unproven(mutation)) });
        return;
      }
    }
    const { verdict, item } = this.#decide(mutation);
    const entry = step.answer(verdict);
    if (!entry || !item) {
      this.#discard(mutation);
      return;
    }
    assert(entry.index === this.#last.index + 1, 'judged for the place that it takes');
    this.#hold({ entry, ...item });
  }

  #decide(submitted: Mutation): { verdict: Verdict; item?: Omit<Item, 'entry'> } {
    if (this.#isKnown(submitted.id)) {
      const refusal = new Refusal('AlreadySubmitted', 'the same change was submitted before');
      return { verdict: { accepted: false, refusal: plain(refusal) } };
    }
    // Clocks of members differ; time in the log does not run backwards.
    const mutation: Mutation = { ...submitted, time: Math.max(submitted.time, this.#lastTime) };
    const changes = judge(this.#tail.view, mutation, this.#last.index + 1);
    if (changes instanceof Refusal) return { verdict: { accepted: false, refusal: plain(changes) } };
    const verdict: Verdict = {
      accepted: true,
      time: mutation.time,
      mutation: encode(mutation),
      changesHash: hashOfChanges(changes),
    };
    return { verdict, item: { mutation, changes } };
  }

  #isKnown(id: string): boolean {
    return this.#tail.view.get('outcomes', id) !== undefined;
  }

  // What it takes is read now: holding the mutation changes the state that it is seen in.
  #proofOf(mutation: Mutation): Proof {
    if (mutation.kind === 'DomainRestored') {
      const transfer = this.#tail.view.get('internal', TRANSFER);
      // Without it the mutation is refused when it is judged.
      return transfer && (() => this.#domains.stage(mutation, transfer));
    }
    const sealed = sealedIn(mutation);
    // Of all that a restore brings few are used soon, and open keys are most of an instance's memory.
    const keepOpen = mutation.kind !== 'RestoreStaged';
    return sealed.length > 0 ? () => this.#partition.proveAll(sealed, keepOpen) : undefined;
  }

  // The primary could. A slot that opens nothing any more needs another copy of its token; one that opens the rest is
  // not what it should be.
  async #prove(index: number, proof: NonNullable<Proof>): Promise<void> {
    try {
      await proof();
    } catch (cause) {
      await checkSlot(this.#store.state, this.#partition);
      await usable(`entry ${index} holds a key that this slot does not open`, () =>
        Promise.reject(cause as Error),
      );
    }
  }

  #discard(mutation: Mutation): void {
    if (mutation.kind !== 'DomainRestored') return;
    this.#domains.discard(mutation.securityDomain).catch(this.#fail);
  }

  // What the primary decided must come out the same here, or one of the two is wrong and this one does not know which.
  #check(entry: Entry): { readonly item: Item; readonly proof: Proof } {
    const mutation = decode(entry.mutation) as Mutation;
    const proof = this.#proofOf(mutation);
    const changes = judge(this.#tail.view, mutation, entry.index);
    if (changes instanceof Refusal || !equalBytes(hashOfChanges(changes), entry.changesHash)) {
      throw new DirectoryUnusable(`entry ${entry.index} changes something else here than at the primary`);
    }
    const item = { entry, mutation, changes };
    this.#hold(item);
    return { item, proof };
  }

  #hold(item: Item): void {
    this.#tail.push(item);
    // What comes after it in the log may already be wrapped under it.
    if (item.mutation.kind === 'PoolFounded')
      this.#partition.learnExportKey(item.mutation.internal['export-wrapping'].sealed);
    this.#last = item.entry;
    this.#lastTime = item.entry.time;
  }

  #persist(step: StepOf<'append' | 'prepare'>, proofs: Promise<void>[]): void {
    const parts = [this.#persisting, this.#store.append([step.entry]), ...proofs];
    this.#persisting = Promise.all(parts).then(step.persisted);
    this.#persisting.catch(this.#fail);
  }

  #commit(index: number): void {
    for (const { entry, mutation, changes } of this.#tail.takeThrough(index)) {
      const transfer = this.#store.state.get('internal', TRANSFER);
      this.#store.commit(entry.index, changes);
      this.#committed = entry;
      for (const { table, id, value } of changes) {
        if (table === '*') this.#partition.forgetAll();
        if (table === 'stagedVersions' && value === null) this.#partition.forget(id);
        if (table === 'versions' && value === null) this.#partition.forget(id);
        if (table === 'internal' && value === null && transfer) this.#partition.forget(transfer.sealed.id);
      }
      const { index: place, time } = entry;
      const answer = () =>
        this.#whenAnswered(place, () =>
          this.#settle(mutation.id, ({ resolve }) => resolve({ index: place, time, changes })),
        );
      if (mutation.kind === 'DomainRestored') this.#changeDomain(mutation).then(answer, this.#fail);
      else if (this.#submissions.has(mutation.id)) answer();
    }
    this.#tail.settle();
    if (this.#awaited && this.#awaited.index <= index) {
      this.#awaited.resolve();
      this.#awaited = undefined;
    }
  }

  #whenAnswered(index: number, answer: () => void): void {
    if (index <= this.#answered) answer();
    else this.#unanswered.push({ index, answer });
  }

  // As many disks as a pool must not lose hold what is committed through this index.
  #answer(index: number): void {
    this.#answered = index;
    const due = this.#unanswered.filter((waiting) => waiting.index <= index);
    this.#unanswered = this.#unanswered.filter((waiting) => waiting.index > index);
    for (const { answer } of due) answer();
  }

  // Who was to decide it is lost. What has a place in this log is committed or cut with it; of the rest nobody knows.
  #unsettle(id: string, primary: number): void {
    if (this.#tail.items.some(({ mutation }) => mutation.id === id)) return;
    const detail = `the primary, instance ${primary}, was lost before it answered: outcome unknown`;
    this.#settle(id, ({ reject }) => reject(new Outage('OutcomeUnknown', detail)));
  }

  // Joiner: what the pool committed meanwhile, in pages, each applied while the next is fetched.
  async #fill(through: number, fetch: Running['fetch']): Promise<void> {
    const { epoch } = this.#replication;
    for (let after = this.#last; after.index < through;) {
      let entries: readonly Entry[] | undefined;
      try {
        entries = await fetch(after, through);
      } catch (error) {
        // With the next link or view comes another greeting, and perhaps another gap.
        if (this.#replication.epoch !== epoch || !this.#replication.reachesPrimary) return;
        throw error;
      }
      if (this.#replication.epoch !== epoch) return;
      if (entries === undefined) {
        this.#replication.differs();
        return;
      }
      const last = entries.at(-1);
      assert(last !== undefined && last.index > after.index, 'a page goes on where the one before ended');
      after = last;
      this.#replication.fill(entries);
      // One page at a time: each entry is judged, and its keys are opened in the slot.
      if (this.#committed.index < last.index)
        await new Promise<void>((resolve) => (this.#awaited = { index: last.index, resolve }));
    }
  }

  // Called in the turn of the commit: no request may find the restored domain in the state and the old one in the slot.
  async #changeDomain(mutation: DomainRestored): Promise<void> {
    await this.#openDomain(mutation);
    // Once the state that names the new token is on the disk the old one is not needed any more.
    await this.#store.append([]);
    await this.#domains.keepOnly([mutation.securityDomain]);
  }

  #openDomain({ securityDomain, internal }: DomainRestored): Promise<void> {
    this.#partition.learnExportKey(internal['export-wrapping'].sealed);
    return this.#domains.open(securityDomain);
  }

  #cut({ index, persisted }: StepOf<'cut'>): void {
    const cut = this.#tail.items.filter(({ entry }) => entry.index >= index);
    this.#tail.cut(index);
    this.#last = this.#tail.items.at(-1)?.entry ?? this.#committed;
    this.#lastTime = this.#tail.items.at(-1)?.entry.time ?? this.#lastTime;
    // Given to the store in the order of the steps: what is appended after this must not be cut by it.
    this.#persisting = Promise.all([this.#persisting, this.#store.cut(index)]).then(() => {
      for (const { mutation } of cut) this.#discard(mutation);
      persisted();
    });
    this.#persisting.catch(this.#fail);
    for (const { mutation } of cut) {
      const detail = 'the primary was lost before every partition had the change: outcome unknown';
      this.#settle(mutation.id, ({ reject }) => reject(new Outage('OutcomeUnknown', detail)));
    }
  }

  #settle(id: string, how: (submission: Submission) => void): void {
    const submission = this.#submissions.get(id);
    if (!submission) return;
    this.#submissions.delete(id);
    this.#replication.answered(id);
    clearTimeout(submission.timer);
    how(submission);
  }
}

function unproven({ kind }: Mutation): Refusal {
  return kind === 'DomainRestored'
    ? new Refusal(
        'DomainUnusable',
        'The restore blob holds a security domain that no partition can take over',
      )
    : new Refusal('BlobUnreadable', 'the new key cannot be opened by the primary partition');
}

// Refusals travel between members as plain objects.
function plain({ code, detail }: Refusal): { code: RefusalCode; detail: string } {
  return { code, detail };
}

function readRefusal(refusal: unknown): Refusal {
  const { code, detail } = refusal as { code: RefusalCode; detail: string };
  return new Refusal(code, detail);
}
