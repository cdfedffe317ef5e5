// Who may go next: a number of places, and a queue for them in the order of arrival. Knows no session and no token.
//
// Invariants: nobody waits while a place is free; nobody overtakes; a place that is given back goes to the first who
// waits; after `close` nobody gets a place.
import { TokenError } from './errors.js';

export interface TurnsOptions {
  readonly placesMax: number;
  /** How many may wait; the next one is refused at once. */
  readonly waitingMax: number;
  /** Milliseconds that each may wait, unless it says otherwise; 0 for ever. */
  readonly waitMsMax: number;
}

export interface TurnOptions {
  /** Ends the waiting. What has got its turn is not stopped. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds to wait for a turn; 0 for ever. */
  readonly waitMsMax?: number | undefined;
}

interface Waiting {
  go(): void;
  refuse(reason: Error): void;
}

export class Turns {
  readonly #options: TurnsOptions;
  readonly #waiting = new Set<Waiting>();
  #taken = 0;
  #closed = false;
  #emptied: (() => void) | undefined;
  #empty: Promise<void> | undefined;

  constructor(options: TurnsOptions) {
    this.#options = options;
  }

  get taken(): number {
    return this.#taken;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Resolves with a place, which must be given back once. */
  async take(options: TurnOptions = {}): Promise<void> {
    options.signal?.throwIfAborted();
    if (this.#closed) throw closed();
    if (this.#taken < this.#options.placesMax) {
      this.#taken += 1;
      return;
    }
    if (this.#waiting.size >= this.#options.waitingMax) {
      throw new TokenError('QueueFull', `${this.#waiting.size} calls are waiting for a session`);
    }
    await this.#wait(options.signal, options.waitMsMax ?? this.#options.waitMsMax);
  }

  #wait(signal: AbortSignal | undefined, waitMsMax: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (): void => {
        this.#waiting.delete(waiting);
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
      };
      const waiting: Waiting = {
        go: () => {
          end();
          resolve();
        },
        refuse: (reason) => {
          end();
          reject(reason);
        },
      };
      const abort = (): void => waiting.refuse(signal?.reason as Error);
      const timer =
        waitMsMax > 0
          ? setTimeout(
              () => waiting.refuse(new TokenError('TimedOut', `no session in ${waitMsMax} ms`)),
              waitMsMax,
            )
          : undefined;
      signal?.addEventListener('abort', abort);
      this.#waiting.add(waiting);
    });
  }

  /** Gives a place back. */
  give(): void {
    const [next] = this.#waiting;
    if (next !== undefined) {
      next.go();
      return;
    }
    this.#taken -= 1;
    if (this.#taken === 0) this.#emptied?.();
  }

  /** Refuses who waits and who comes; resolves when all places are back. */
  close(): Promise<void> {
    if (this.#empty === undefined) {
      this.#closed = true;
      for (const waiting of [...this.#waiting]) waiting.refuse(closed());
      this.#empty = new Promise((resolve) => {
        this.#emptied = resolve;
        if (this.#taken === 0) resolve();
      });
    }
    return this.#empty;
  }
}

function closed(): TokenError {
  return new TokenError('Closed', 'the token is closed');
}
