// Following the log: the one loop that takes the steps of replication, on primary and backup alike. Every change of
// state goes through here; every read looks here for what is undecided.
import { assert, unreachable } from '../../values/assert.js';
import { equalBytes } from '../../values/bytes.js';
import { decode, encode } from '../../values/cbor.js';
import type { Entry, Head } from '../../values/entry.js';
import type { Seconds } from '../../values/moments.js';
import { judge, type Tag } from '../model/judge.js';
import { sealedIn, type Mutation } from '../model/mutation.js';
import { Refusal, RefusedError, type RefusalCode } from '../model/refusal.js';
import type { State, Tables } from '../model/state.js';
import type { Partition } from '../partition/partition.js';
import type { Verdict } from '../replication/replica.js';
import type { Replication, Step } from '../replication/replication.js';
import type { View } from '../replication/view.js';
import type { Store } from '../store/store.js';
import type { Committed } from './hsm.js';
import { Outage } from './outage.js';
import { hashOfChanges, Tail, type Item } from './tail.js';

/** How long a caller waits for the outcome of a mutation. */
const OUTCOME_MS = 10_000;

interface Submission {
  readonly resolve: (committed: Committed) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

type StepOf<K extends Step['kind']> = Extract<Step, { kind: K }>;

/** Answers what another member asks; the promise's rejection becomes the refusal it is told. */
export type Answerer = (from: number, question: unknown) => Promise<unknown>;

export class Follower {
  readonly #store: Store<Tables>;
  readonly #partition: Partition;
  readonly #replication: Replication;
  readonly #tail: Tail;
  readonly #submissions = new Map<string, Submission>();
  #lastIndex: number;
  #lastTime: Seconds;
  /** Writes and proofs end in any order; what is said of them must not. */
  #persisting: Promise<void> = Promise.resolve();
  #fail: (error: Error) => void = () => undefined;

  private constructor(
    store: Store<Tables>,
    partition: Partition,
    replication: Replication,
    head: Head & { time: Seconds },
  ) {
    this.#store = store;
    this.#partition = partition;
    this.#replication = replication;
    this.#tail = new Tail(store.state);
    this.#lastIndex = head.index;
    this.#lastTime = head.time;
  }

  /** Reads and proves what the log holds, then takes part in the view. */
  static async start(
    self: number,
    view: View,
    parts: {
      readonly store: Store<Tables>;
      readonly partition: Partition;
      readonly replication: Replication;
    },
  ): Promise<Follower> {
    const { base, tail } = parts.store.readLog();
    const follower = new Follower(parts.store, parts.partition, parts.replication, base);
    const exportKey = parts.store.state.get('internal', 'export-wrapping');
    if (exportKey) parts.partition.learnExportKey(exportKey.sealed);
    for (const entry of tail) {
      const item = follower.#check(entry);
      await parts.partition.proveAll(sealedIn(item.mutation));
    }
    parts.replication.start(self, view, { committed: { index: base.index, hash: base.hash }, tail });
    return follower;
  }

  /** Committed state. */
  get state(): State {
    return this.#store.state;
  }

  settled(tags: readonly (Tag | 'keys')[]): Promise<void> | undefined {
    return this.#tail.settled(tags);
  }

  submit(mutation: Mutation): Promise<Committed> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        const detail = 'the change was submitted, but not decided in time: outcome unknown';
        this.#settle(mutation.id, ({ reject: fail }) => fail(new Outage('OutcomeUnknown', detail)));
      }, OUTCOME_MS);
      this.#submissions.set(mutation.id, { resolve, reject, timer });
      this.#replication.submit(mutation.id, encode(mutation));
    });
  }

  /**
   * Takes the steps until something breaks that the instance must not survive; rejects with the reason. `answer`
   * serves what other members ask, `standing` is called when links or decidedness have changed.
   */
  run(answer: Answerer, standing: () => void): Promise<never> {
    return new Promise((_resolve, reject) => {
      this.#fail = reject;
      this.#loop(answer, standing).catch(reject);
    });
  }

  async #loop(answer: Answerer, standing: () => void): Promise<never> {
    for await (const step of this.#replication.steps()) {
      switch (step.kind) {
        case 'judge':
          void this.#judge(step).catch(this.#fail);
          break;
        case 'append':
          this.#persist(step, []);
          break;
        case 'prepare': {
          const item = this.#check(step.entry);
          this.#persist(step, [this.#partition.proveAll(sealedIn(item.mutation))]);
          break;
        }
        case 'commit':
          this.#commit(step.index);
          break;
        case 'cut':
          this.#cut(step.index);
          break;
        case 'refused':
          this.#settle(step.id, ({ reject }) => reject(new RefusedError(readRefusal(step.refusal))));
          break;
        case 'outage':
          this.#settle(step.id, ({ reject }) => reject(new Outage(step.code, step.detail)));
          break;
        case 'asked':
          answer(step.from, step.question).then(step.reply, (error: unknown) =>
            step.refuse(error instanceof Error ? error.message : 'refused'),
          );
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
    const sealed = sealedIn(mutation);
    if (sealed.length > 0) {
      try {
        await this.#partition.proveAll(sealed);
      } catch {
        const refusal = new Refusal(
          'BlobUnreadable',
          'the new key cannot be opened by the primary partition',
        );
        step.answer({ accepted: false, refusal: plain(refusal) });
        return;
      }
    }
    const { verdict, item } = this.#decide(mutation);
    const entry = step.answer(verdict);
    if (!entry || !item) return;
    assert(entry.index === this.#lastIndex + 1, 'judged for the place that it takes');
    this.#hold({ entry, ...item });
  }

  #decide(submitted: Mutation): { verdict: Verdict; item?: Omit<Item, 'entry'> } {
    if (this.#isKnown(submitted.id)) {
      const refusal = new Refusal('AlreadySubmitted', 'the same change was submitted before');
      return { verdict: { accepted: false, refusal: plain(refusal) } };
    }
    // Clocks of members differ; time in the log does not run backwards.
    const mutation: Mutation = { ...submitted, time: Math.max(submitted.time, this.#lastTime) };
    const changes = judge(this.#tail.view, mutation, this.#lastIndex + 1);
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

  // What the primary decided must come out the same here, or one of the two is wrong and this one does not know which.
  #check(entry: Entry): Item {
    const mutation = decode(entry.mutation) as Mutation;
    const changes = judge(this.#tail.view, mutation, entry.index);
    if (changes instanceof Refusal || !equalBytes(hashOfChanges(changes), entry.changesHash)) {
      throw new Error(`entry ${entry.index} changes something else here than at the primary`);
    }
    const item = { entry, mutation, changes };
    this.#hold(item);
    return item;
  }

  #hold(item: Item): void {
    this.#tail.push(item);
    // What comes after it in the log may already be wrapped under it.
    if (item.mutation.kind === 'PoolFounded')
      this.#partition.learnExportKey(item.mutation.internal['export-wrapping'].sealed);
    this.#lastIndex = item.entry.index;
    this.#lastTime = item.entry.time;
  }

  #persist(step: StepOf<'append' | 'prepare'>, proofs: Promise<void>[]): void {
    const parts = [this.#persisting, this.#store.append([step.entry]), ...proofs];
    this.#persisting = Promise.all(parts).then(step.persisted);
    this.#persisting.catch(this.#fail);
  }

  #commit(index: number): void {
    for (const { entry, mutation, changes } of this.#tail.takeThrough(index)) {
      this.#store.commit(entry.index, changes);
      for (const { table, id, value } of changes) {
        if (table === 'versions' && value === null) this.#partition.forget(id);
      }
      this.#settle(mutation.id, ({ resolve }) => resolve({ index: entry.index, time: entry.time, changes }));
    }
    this.#tail.settle();
  }

  #cut(index: number): void {
    this.#tail.cut(index);
    this.#lastIndex = index - 1;
    this.#lastTime = this.#tail.items.at(-1)?.entry.time ?? this.#lastTime;
    // Given to the store in the order of the steps: what is appended after this must not be cut by it.
    this.#persisting = Promise.all([this.#persisting, this.#store.cut(index)]).then(() => undefined);
    this.#persisting.catch(this.#fail);
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

// Refusals travel between members as plain objects.
function plain({ code, detail }: Refusal): { code: RefusalCode; detail: string } {
  return { code, detail };
}

function readRefusal(refusal: unknown): Refusal {
  const { code, detail } = refusal as { code: RefusalCode; detail: string };
  return new Refusal(code, detail);
}
