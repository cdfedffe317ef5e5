// The lease of this instance: it serves anything only while it holds one of the view that it goes by. Pure; the time
// is CLOCK_BOOTTIME in milliseconds, which goes on while the machine sleeps.
import { LEASE_MS } from '../../values/view.js';

export class Lease {
  #epoch = 0;
  #ends = -Infinity;

  /** Granted in answer to what was asked at `asked`: it may have been under way for long, so it counts from there. */
  granted(asked: number, epoch: number): void {
    if (epoch < this.#epoch) return;
    this.#ends = epoch > this.#epoch ? asked + LEASE_MS : Math.max(this.#ends, asked + LEASE_MS);
    this.#epoch = epoch;
  }

  /** Whether this instance may serve now, going by the view of `epoch`. */
  holds(now: number, epoch: number): boolean {
    return epoch > 0 && epoch === this.#epoch && now < this.#ends;
  }
}
