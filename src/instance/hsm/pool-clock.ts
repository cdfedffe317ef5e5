// The pool's clock: the machine's, and ahead of it by an offset in a pool that was founded with a movable clock. Tokens,
// retention, rotation and every stored time go by it; certificates, links and timers never do.
import type { Founding } from '../../values/messages.js';
import type { Seconds } from '../../values/moments.js';
import { POOL } from '../model/pool.js';
import type { State } from '../model/state.js';

export class PoolClock {
  #offset: Seconds;
  readonly #founding: Founding;
  #state: State | undefined;
  /** Called after the time has jumped. */
  onMoved: (() => void) | undefined;

  /** `founding` counts until the pool is founded. */
  constructor(offset: Seconds, founding: Founding) {
    this.#offset = offset;
    this.#founding = founding;
  }

  /** From now on the pool's own state says whether the clock is movable, and not who sends offsets. */
  follow(state: State): void {
    this.#state = state;
  }

  /** Seconds ahead of the machine's clock; 0 where the clock is not movable. */
  get offset(): Seconds {
    return this.#movable ? this.#offset : 0;
  }

  now(): Seconds {
    return Math.floor(Date.now() / 1_000) + this.offset;
  }

  /** Takes an offset unless it would turn the clock back. */
  advanceTo(offset: Seconds): void {
    if (!Number.isSafeInteger(offset) || offset <= this.#offset) return;
    this.#offset = offset;
    if (this.#movable) this.onMoved?.();
  }

  get #movable(): boolean {
    return (this.#state?.get('pool', POOL) ?? this.#founding).movableClock === true;
  }
}
