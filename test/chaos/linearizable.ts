// Judges a recorded history: could one object that does one operation at a time have given all these answers? The
// algorithm is Wing and Gong's ("Testing and verifying concurrent objects", 1993) with Lowe's memory of what was tried
// ("Testing for linearizability", 2017), breadth first: it walks through the answers in the order in which they came and
// keeps every state that the object may be in, together with the operations that have then been done early.
//
// Linearizability is local (Herlihy and Wing, 1990): a history is linearizable when it is so for each object by itself.
// So a history is judged key by key, and an operation on many objects becomes one on each of them.

/** One operation of one client on one object. */
export interface Operation<Call, Result> {
  readonly id: number;
  readonly call: Call;
  /** When it was sent; any unit, the same everywhere. */
  readonly invoked: number;
  /**
   * The answer and when it came. Absent when nobody knows what became of it: it may happen at any time after `invoked`,
   * or never. What certainly did not happen is no part of a history.
   */
  readonly answer?: { readonly returned: number; readonly result: Result };
}

/** What one object does, one operation at a time. Knows nothing of histories. */
export interface Model<State, Call, Result> {
  readonly initial: State;
  /**
   * The states in which the object may be after this call with this answer; none when it does not answer so in this
   * state. Without an answer: any that it may have given.
   */
  step(state: State, call: Call, result: Result | undefined): readonly State[];
  /**
   * Whether this call with this answer changes nothing, whatever the state it is given in. One that only happens to
   * change nothing, such as an update to what is there already, may be needed later for what it changes then.
   */
  changesNothing(call: Call, result: Result): boolean;
  /** Equal for states that cannot be told apart by anything later. */
  nameOf(state: State): string;
}

export type Judgement<Call, Result> =
  | { readonly kind: 'linearizable' }
  /** `impossible`: whose answer no order explains; all before it can be explained. */
  | { readonly kind: 'violated'; readonly impossible: Operation<Call, Result> }
  /** More possibilities than `limit` at this operation; nothing is known. */
  | { readonly kind: 'undecided'; readonly at: Operation<Call, Result> };

/** One way to explain what was answered so far. */
interface Explanation<State> {
  readonly state: State;
  /** Of the state. */
  readonly name: string;
  /** Ids of operations that were done already, and whose answer has not come; sorted. */
  readonly done: readonly number[];
}

/** Explanations held at once; a history that needs more is too wide to judge. */
const LIMIT = 200_000;

/**
 * Judges the history of one object. The order of `operations` does not matter.
 * @throws Error when an operation was answered before it was sent.
 */
export function judge<State, Call, Result>(
  model: Model<State, Call, Result>,
  operations: readonly Operation<Call, Result>[],
  limit = LIMIT,
): Judgement<Call, Result> {
  let explanations: Explanation<State>[] = [
    { state: model.initial, name: model.nameOf(model.initial), done: [] },
  ];
  // Sent, and not explained in all explanations; those without an answer stay for ever.
  const open = new Map<number, Operation<Call, Result>>();
  for (const { operation, answered } of eventsOf(operations)) {
    if (!answered) {
      open.set(operation.id, operation);
      continue;
    }
    const next = after(model, explanations, operation, open, limit);
    if (next === undefined) return { kind: 'undecided', at: operation };
    if (next.length === 0) return { kind: 'violated', impossible: operation };
    explanations = next;
    open.delete(operation.id);
  }
  return { kind: 'linearizable' };
}

interface Event<Call, Result> {
  readonly operation: Operation<Call, Result>;
  readonly answered: boolean;
  readonly time: number;
}

function eventsOf<Call, Result>(operations: readonly Operation<Call, Result>[]): Event<Call, Result>[] {
  const events = operations.flatMap((operation): Event<Call, Result>[] => {
    const sent = { operation, answered: false, time: operation.invoked };
    if (!operation.answer) return [sent];
    const { returned } = operation.answer;
    if (returned < operation.invoked) throw new Error(`operation ${operation.id} ends before it begins`);
    return [sent, { operation, answered: true, time: returned }];
  });
  // At one and the same time what is sent comes first: then the two overlap, and nothing follows from their order.
  return events.sort((a, b) => a.time - b.time || Number(a.answered) - Number(b.answered));
}

/** Every explanation in which `answered` is done, with as many of the others before it as it takes or allows. */
function after<State, Call, Result>(
  model: Model<State, Call, Result>,
  explanations: readonly Explanation<State>[],
  answered: Operation<Call, Result>,
  open: ReadonlyMap<number, Operation<Call, Result>>,
  limit: number,
): Explanation<State>[] | undefined {
  const found = new Map<string, Explanation<State>>();
  const seen = new Set<string>();
  const rest: Explanation<State>[] = [];
  const meet = (state: State, before: readonly number[]): void => {
    const done = withIdle(model, state, before, open);
    const name = model.nameOf(state);
    if (done.includes(answered.id)) {
      const left = done.filter((id) => id !== answered.id);
      found.set(`${left.join()} ${name}`, { state, name, done: left });
      return;
    }
    const whole = `${done.join()} ${name}`;
    if (seen.has(whole)) return;
    seen.add(whole);
    rest.push({ state, name, done });
  };
  for (const { state, done } of explanations) meet(state, done);
  for (let here = rest.pop(); here; here = rest.pop()) {
    if (seen.size + found.size > limit) return undefined;
    for (const [id, { call, answer }] of open) {
      if (here.done.includes(id)) continue;
      for (const state of model.step(here.state, call, answer?.result)) {
        // Without an answer, done without a trace is as good as not done.
        if (answer || model.nameOf(state) !== here.name) meet(state, sorted([...here.done, id]));
      }
    }
  }
  return simplest([...found.values()], open);
}

/**
 * Without those that have used up more for the same: of two explanations with the same state, the one in which fewer
 * operations without an answer have happened leads wherever the other does.
 */
function simplest<State, Call, Result>(
  explanations: readonly Explanation<State>[],
  open: ReadonlyMap<number, Operation<Call, Result>>,
): Explanation<State>[] {
  const byState = new Map<string, Explanation<State>[]>();
  const isFree = (id: number): boolean => open.get(id)?.answer === undefined;
  const isWithin = (few: readonly number[], many: readonly number[]): boolean =>
    many.length >= few.length && few.every((id) => many.includes(id));
  const kept: Explanation<State>[] = [];
  for (const each of [...explanations].sort((a, b) => a.done.length - b.done.length)) {
    const owed = each.done.filter((id) => !isFree(id)).join();
    const group = byState.get(`${owed} ${each.name}`) ?? [];
    if (group.some(({ done }) => isWithin(done, each.done))) continue;
    byState.set(`${owed} ${each.name}`, [...group, each]);
    kept.push(each);
  }
  return kept;
}

/** With every operation whose answer is right in this state and changes nothing: there is no better moment for it. */
function withIdle<State, Call, Result>(
  model: Model<State, Call, Result>,
  state: State,
  done: readonly number[],
  open: ReadonlyMap<number, Operation<Call, Result>>,
): readonly number[] {
  const name = model.nameOf(state);
  const idle = [...open.values()].filter(({ id, call, answer }) => {
    if (!answer || done.includes(id) || !model.changesNothing(call, answer.result)) return false;
    const [only, ...others] = model.step(state, call, answer.result);
    return only !== undefined && others.length === 0 && model.nameOf(only) === name;
  });
  return idle.length === 0 ? done : sorted([...done, ...idle.map(({ id }) => id)]);
}

const sorted = (ids: readonly number[]): number[] => [...ids].sort((a, b) => a - b);

/** Of a history that is looked at in vain, no more than this is tried. */
const REDUCTION_LIMIT = 5_000;

/**
 * What it takes to see a violation: reads are left out, and the answers of changes forgotten, as long as what remains is
 * still impossible. Neither makes a history impossible that was possible. The changes whose answers do not matter remain
 * in it without an answer.
 */
export function reduced<State, Call, Result>(
  model: Model<State, Call, Result>,
  operations: readonly Operation<Call, Result>[],
  isRead: (call: Call) => boolean,
): Operation<Call, Result>[] {
  const first = judge(model, operations);
  if (first.kind !== 'violated') return [...operations];
  const end = first.impossible.answer?.returned ?? Infinity;
  // What came after the impossible answer has no part in it.
  let kept = operations
    .filter(({ invoked }) => invoked <= end)
    .map((each) => (each.answer && each.answer.returned > end ? forgotten(each) : each));
  const isImpossible = (history: readonly Operation<Call, Result>[]): boolean =>
    judge(model, history, REDUCTION_LIMIT).kind === 'violated';
  // Large pieces first: most of a long history has nothing to do with it.
  for (let size = kept.length; size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let start = 0; start < kept.length;) {
      const piece = new Set(kept.slice(start, start + size).filter(({ call }) => isRead(call)));
      const without = kept.filter((each) => !piece.has(each));
      if (piece.size > 0 && isImpossible(without)) kept = without;
      else start += size;
    }
  }
  for (const each of kept) {
    if (!each.answer || isRead(each.call)) continue;
    const weaker = kept.map((other) => (other === each ? forgotten(other) : other));
    if (isImpossible(weaker)) kept = weaker;
  }
  return kept;
}

function forgotten<Call, Result>({ id, call, invoked }: Operation<Call, Result>): Operation<Call, Result> {
  return { id, call, invoked };
}
