// The installation's clock: the machine's, and ahead of it by an offset that is kept on disk. What the login and the
// pools go by, so that tokens, retention and rotation move together; certificates and timers never do.
import { LAST_SECOND, type Seconds } from '../../values/moments.js';
import { addDuration, type Duration } from '../../values/duration.js';
import { readClockOffset, writeClockOffset, type Places } from './estate.js';

export class FabricClock {
  readonly #places: Places;
  #offset: Seconds;

  /** `movable`: every pool was created with a movable clock; in any other case the offset counts for nothing. */
  constructor(
    places: Places,
    readonly movable: boolean,
  ) {
    this.#places = places;
    this.#offset = movable ? readClockOffset(places) : 0;
  }

  /** Seconds ahead of the machine's clock. */
  get offset(): Seconds {
    return this.#offset;
  }

  now(): Seconds {
    return Math.floor(Date.now() / 1_000) + this.#offset;
  }

  /**
   * Moves the clock forward; on disk when it returns. False when it would leave the years that the service knows. The
   * caller has made sure that the clock is movable.
   */
  advance(duration: Duration): boolean {
    const now = this.now();
    const then = addDuration(now, duration);
    if (then > LAST_SECOND) return false;
    const offset = this.#offset + (then - now);
    writeClockOffset(this.#places, offset);
    this.#offset = offset;
    return true;
  }
}
