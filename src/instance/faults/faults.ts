// The faults that this instance suffers now, for all who ask: present only in a pool that was made with them, and
// without effect unless its own state says so. Keeps which operation a call of the slot is for.
import { AsyncLocalStorage } from 'node:async_hooks';
import type { OrderedFaults } from '../../values/faults.js';
import type { KeySpec } from '../../values/key-spec.js';
import type { OperationName } from '../../values/operations.js';
import { FaultJudge, type LinkVerdict, type RequestVerdict } from './judge.js';

const NO_HARM: LinkVerdict = { cut: false, delayMs: 0 };

export class Faults {
  readonly #instance: number;
  /** Whether the pool's own state says that it was made for this. */
  readonly #allowed: () => boolean;
  readonly #operation = new AsyncLocalStorage<OperationName>();
  #judge: FaultJudge | undefined;
  #serving = false;
  constructor(instance: number, allowed: () => boolean) {
    this.#instance = instance;
    this.#allowed = allowed;
  }

  change(faults: OrderedFaults): void {
    this.#judge = faults.rules.length === 0 ? undefined : new FaultJudge(faults, this.#instance);
  }

  /**
   * From now on the slot may fail too. Before, it would keep an instance from opening what it has, and the healer would
   * take its directory for spoilt.
   */
  serve(): void {
    this.#serving = true;
  }

  /** What a request is to suffer; undefined: nothing. */
  request(operation: OperationName, spec: () => KeySpec | undefined): RequestVerdict | undefined {
    const verdict = this.#present?.request(operation, spec, performance.now());
    return verdict && (verdict.delayMs > 0 || verdict.answer) ? verdict : undefined;
  }

  /** Does a request's work, whose calls of the slot are then for that operation. */
  during<T>(operation: OperationName, work: () => T): T {
    return this.#judge ? this.#operation.run(operation, work) : work();
  }

  /** The return code that the present call of the slot gets, by its name; undefined: it does its work. */
  slot(): string | undefined {
    return this.#serving ? this.#present?.slot(this.#operation.getStore()) : undefined;
  }

  link(member: number): LinkVerdict {
    return this.#present?.link(member) ?? NO_HARM;
  }

  get diskFull(): boolean {
    return this.#present?.diskFull === true;
  }

  get #present(): FaultJudge | undefined {
    return this.#judge && this.#allowed() ? this.#judge : undefined;
  }
}
