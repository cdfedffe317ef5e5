// Slows down whoever keeps sending wrong secrets, and bounds how many secrets are hashed at a time: a hash costs
// 16 MB and tens of milliseconds. Remembers a bounded number of offenders; time comes from outside.

const FREE_FAILURES = 5;
const PAUSE_MS = 1_000;
const PAUSE_MS_MAX = 60_000;
const OFFENDERS_MAX = 1_024;

interface Offender {
  failures: number;
  until: number;
}

export class Throttle {
  // In order of the last failure, oldest first.
  readonly #offenders = new Map<string, Offender>();

  /** Milliseconds that `who` still has to wait; 0 as a rule. */
  wait(who: string, now: number): number {
    return Math.max(0, (this.#offenders.get(who)?.until ?? 0) - now);
  }

  failed(who: string, now: number): void {
    const offender = this.#offenders.get(who) ?? { failures: 0, until: 0 };
    offender.failures += 1;
    const excess = offender.failures - FREE_FAILURES;
    if (excess >= 0) offender.until = now + Math.min(PAUSE_MS_MAX, PAUSE_MS * 2 ** Math.min(excess, 16));
    this.#offenders.delete(who);
    this.#offenders.set(who, offender);
    if (this.#offenders.size <= OFFENDERS_MAX) return;
    for (const oldest of this.#offenders.keys()) {
      this.#offenders.delete(oldest);
      return;
    }
  }

  succeeded(who: string): void {
    this.#offenders.delete(who);
  }
}

/** Lets `width` tasks run at a time and `lengthMax` wait; refuses (undefined) beyond that. */
export class Narrow {
  #running = 0;
  readonly #queue: (() => void)[] = [];

  constructor(
    readonly width: number,
    readonly lengthMax: number,
  ) {}

  async run<T>(task: () => Promise<T>): Promise<T | undefined> {
    if (this.#running >= this.width) {
      if (this.#queue.length >= this.lengthMax) return undefined;
      await new Promise<void>((resolve) => this.#queue.push(resolve));
    } else {
      this.#running += 1;
    }
    try {
      return await task();
    } finally {
      const next = this.#queue.shift();
      if (next)
        next(); // takes over this place
      else this.#running -= 1;
    }
  }
}
