// What a person who waits is shown: a bar where it is known how much there is, else how long it has taken. Only in a
// terminal, on standard error, and only once it takes longer than a second.
import { Presets, SingleBar } from 'cli-progress';

const QUIET_MS = 1_000;
const TICK_MS = 200;

/** Whoever waits within somebody's waiting shows nothing of its own. */
let busy = false;

/** Runs something that may take a while; `total` in whatever steps `advance` is called for, undefined when not known. */
export async function withProgress<T>(
  what: string,
  total: number | undefined,
  work: (advance: (step?: string) => void) => Promise<T>,
): Promise<T> {
  if (!process.stderr.isTTY || busy) return work(() => undefined);
  busy = true;
  const progress = new Progress(what, total);
  try {
    return await work((step) => progress.advance(step));
  } finally {
    progress.end();
    busy = false;
  }
}

class Progress {
  readonly #bar: SingleBar;
  readonly #begin = performance.now();
  readonly #timer: NodeJS.Timeout;
  #ticking: NodeJS.Timeout | undefined;
  #done = 0;
  #step = '';

  constructor(
    readonly what: string,
    readonly total: number | undefined,
  ) {
    const format = total === undefined ? '{what} {seconds} s' : '{what} {bar} {percentage} % {step}';
    this.#bar = new SingleBar(
      { format, stream: process.stderr, clearOnComplete: true, hideCursor: true, stopOnComplete: false },
      Presets.shades_classic,
    );
    this.#timer = setTimeout(() => this.#show(), QUIET_MS);
  }

  advance(step = ''): void {
    this.#done += 1;
    this.#step = step;
    // Work that never waits lets no timer run.
    if (!this.#ticking && performance.now() - this.#begin > QUIET_MS) this.#show();
    this.#update();
  }

  end(): void {
    clearTimeout(this.#timer);
    clearInterval(this.#ticking);
    if (this.#ticking) this.#bar.stop();
  }

  #show(): void {
    clearTimeout(this.#timer);
    this.#bar.start(this.total ?? 1, 0, this.#words());
    this.#ticking = setInterval(() => this.#update(), TICK_MS);
    this.#update();
  }

  #update(): void {
    if (!this.#ticking) return;
    this.#bar.update(Math.min(this.#done, this.total ?? 0), this.#words());
  }

  #words(): Record<string, string> {
    const seconds = Math.round((performance.now() - this.#begin) / 1_000);
    return { what: this.what, step: this.#step, seconds: String(seconds) };
  }
}
