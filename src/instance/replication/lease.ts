// The lease of this instance: it serves anything only while it holds one of the view that it goes by. Pure; the time
// is CLOCK_BOOTTIME in milliseconds, which goes on while the machine sleeps.
import { LEASE_MS } from '../../values/view.js';

export class Lease {
  #ends = -Infinity;

  /** Granted in answer to what was asked at `asked`: it may have been under way for long, so it counts from there. */
  granted(asked: number): void {
    this.#ends = Math.max(this.#ends, asked + LEASE_MS);
  }

  /**
   * Whether this instance, a member of the view that it goes by, may serve now. A lease outlives the view in which it
   * was granted: nobody who holds one is dropped, so its holder is a member of every view until it ends.
   */
  holds(now: number): boolean {
    return now < this.#ends;
  }
}
