// What all instances of a pool are told to go by, besides the view: the clock, who may reach the data plane, whether
// keys are protected from an early purge, and what is suffered on request. Each is kept for those that start later.
// Knows nothing of how instances come and go.
import { isDeepStrictEqual } from 'node:util';
import { assert } from '../../values/assert.js';
import type { FaultSettings, OrderedFaults } from '../../values/faults.js';
import type { OrderedNetwork, ToInstance } from '../../values/messages.js';
import type { Seconds } from '../../values/moments.js';
import { OPEN_NETWORK } from '../../values/network.js';
import type { NetworkRules } from '../../values/network.js';
import type { InstanceProcess } from './instance-process.js';
import { within } from './within.js';

type OrdersAtStart = Pick<Extract<ToInstance, { kind: 'start' }>, 'clockOffset' | 'network' | 'faults'>;

export interface PoolOrdersParts {
  /** The processes that have not ended. */
  readonly living: () => readonly InstanceProcess[];
  readonly clockOffset: Seconds;
  /** Whether the pool was made for faults on request. */
  readonly suffersFaults: boolean;
  /** How long an instance that serves may take to go by network rules, in milliseconds. */
  readonly networkMs: number;
}

export class PoolOrders {
  readonly #living: PoolOrdersParts['living'];
  readonly #networkMs: number;
  #clockOffset: Seconds;
  #network: OrderedNetwork = { order: 0, rules: OPEN_NETWORK };
  /** Settles when every instance goes by the newest rules. */
  #networkTold: Promise<void> = Promise.resolve();
  #faults: OrderedFaults | undefined;
  #protected = false;

  constructor({ living, clockOffset, suffersFaults, networkMs }: PoolOrdersParts) {
    this.#living = living;
    this.#networkMs = networkMs;
    this.#clockOffset = clockOffset;
    if (suffersFaults) this.#faults = { order: 0, rules: [], seed: 0 };
  }

  /** What an instance is started with. */
  get atStart(): OrdersAtStart {
    return {
      clockOffset: this.#clockOffset,
      network: this.#network,
      ...(this.#faults && { faults: this.#faults }),
    };
  }

  /** Tells one that was just started what a start has no words for. */
  greet(process: InstanceProcess): void {
    if (this.#protected) process.tell({ kind: 'protect' });
  }

  /**
   * Moves the clock of every living instance, and waits until each of them goes by it. Gives those that did not say so
   * within `patienceMs`; they will when they hear of it.
   */
  moveClock(offset: Seconds, patienceMs: number): Promise<InstanceProcess[]> {
    this.#clockOffset = offset;
    return this.#silent((process) => process.moveClock(offset), patienceMs);
  }

  /** Keys are to be protected from being purged early, from now on and for good. */
  wantProtection(): void {
    if (this.#protected) return;
    this.#protected = true;
    for (const process of this.#living()) process.tell({ kind: 'protect' });
  }

  /** Who may reach the pool's data plane. */
  get network(): NetworkRules {
    return this.#network.rules;
  }

  /**
   * Says who may reach the data plane from now on; resolves when every instance goes by it. One that serves and does not
   * say so in time is ended: nobody shall come in by rules that were taken back.
   */
  setNetwork(rules: NetworkRules): Promise<void> {
    // Whoever wishes for what is being told already waits for that.
    if (isDeepStrictEqual(rules, this.#network.rules)) return this.#networkTold;
    this.#network = { order: this.#network.order + 1, rules };
    this.#networkTold = this.#tellNetwork(this.#network);
    return this.#networkTold;
  }

  async #tellNetwork(network: OrderedNetwork): Promise<void> {
    const all = this.#living().map(async (process) => {
      if (await within(process.setNetwork(network), this.#networkMs)) return;
      if (!process.serving) return; // it hears of it before it serves
      process.kill(`did not take the network rules within ${this.#networkMs / 1_000} s and was killed`);
      await process.ended;
    });
    await Promise.all(all);
  }

  /** What is suffered on request; undefined in a pool that was not made for it. */
  get faults(): FaultSettings | undefined {
    return this.#faults && { rules: this.#faults.rules, seed: this.#faults.seed };
  }

  /**
   * Says what is to be suffered from now on, in a pool that was made for it, and waits until every living instance does.
   * Gives those that did not say so within `patienceMs`; they will when they hear of it.
   */
  setFaults({ rules, seed }: FaultSettings, patienceMs: number): Promise<InstanceProcess[]> {
    assert(this.#faults !== undefined, 'faults are for pools that were made for them');
    const faults = (this.#faults = { order: this.#faults.order + 1, rules, seed });
    return this.#silent((process) => process.setFaults(faults), patienceMs);
  }

  /** Those with whom something has not been done in time. */
  async #silent(
    tell: (process: InstanceProcess) => Promise<void>,
    patienceMs: number,
  ): Promise<InstanceProcess[]> {
    const silent = new Set<InstanceProcess>();
    const all = this.#living().map(async (process) => {
      silent.add(process);
      await tell(process);
      silent.delete(process);
    });
    await within(Promise.all(all), patienceMs);
    return [...silent];
  }
}
