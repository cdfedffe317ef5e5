// What clients saw of one object, while they see it. Knows no HTTP and no pool.
import { judge, reduced, type Model, type Operation } from './linearizable.js';

/** What became of a request: an answer, nobody knows, or certainly nothing. */
export type Outcome<Result> =
  | { readonly kind: 'answered'; readonly result: Result }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'never' };

/** Who asked whom, for people. */
export interface Asked {
  readonly client: string;
  readonly instance: number;
}

export interface Kind<State, Call, Result> {
  readonly modelFor: (history: readonly Operation<Call, Result>[]) => Model<State, Call, Result>;
  readonly isRead: (call: Call) => boolean;
}

let ids = 0;

export class Record<State, Call, Result> {
  readonly operations: Operation<Call, Result>[] = [];
  readonly #asked = new Map<number, Asked>();
  /** Requests that were sent and not settled. */
  open = 0;
  /** Changes of which nobody knows whether they happened: each makes the history wider to judge. */
  unknown = 0;

  constructor(
    readonly name: string,
    readonly kind: Kind<State, Call, Result>,
  ) {}

  /** A request is about to be sent; the function it gives is told what became of it. */
  begin(call: Call, asked: Asked): (outcome: Outcome<Result>) => void {
    const invoked = performance.now();
    const id = (ids += 1);
    this.open += 1;
    return (outcome) => {
      this.open -= 1;
      const returned = performance.now();
      if (outcome.kind === 'never') return;
      if (outcome.kind === 'unknown') {
        // A read that got no answer says nothing.
        if (this.kind.isRead(call)) return;
        this.unknown += 1;
      }
      this.#asked.set(id, asked);
      const answer = outcome.kind === 'answered' ? { answer: { returned, result: outcome.result } } : {};
      this.operations.push({ id, call, invoked, ...answer });
    };
  }

  /** Undefined when all is well; else what cannot be explained, with as much of the history as it takes. */
  problem(): string | undefined {
    const model = this.kind.modelFor(this.operations);
    const judgement = judge(model, this.operations);
    switch (judgement.kind) {
      case 'linearizable':
        return undefined;
      case 'undecided':
        return `${this.name}: too many possibilities to judge (${this.unknown} changes without an answer)`;
      case 'violated': {
        const shown = reduced(model, this.operations, this.kind.isRead);
        const lines = [...shown]
          .sort((a, b) => a.invoked - b.invoked)
          .map(
            (each) =>
              `  ${this.#line(each)}${each.id === judgement.impossible.id ? '   <-- impossible' : ''}`,
          );
        return `${this.name}: not linearizable; of ${this.operations.length} operations these matter:\n${lines.join('\n')}`;
      }
    }
  }

  #line({ id, call, invoked, answer }: Operation<Call, Result>): string {
    const { client, instance } = this.#asked.get(id) ?? { client: '?', instance: -1 };
    const until = answer ? answer.returned.toFixed(2) : '?';
    const result = answer ? JSON.stringify(answer.result) : 'no matter what was answered';
    return `${invoked.toFixed(2)} to ${until} ms, ${client} at instance ${instance}: ${JSON.stringify(call)} -> ${result}`;
  }
}
