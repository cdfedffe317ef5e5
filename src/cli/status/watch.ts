// `trivet status --watch`: looks again and again. In a terminal the view is painted over and over, and leaves the
// terminal as it was; anywhere else each look is printed below the one before.
import type { FabricFigures } from '../../fabric/control/management.js';
import { connect, print, type FabricClient } from '../ask.js';
import { CommandError } from '../failure.js';
import { view, type Look, type Meter } from './view.js';

export interface WatchOptions {
  dataDir: string;
  /** Seconds. */
  interval: number;
  /** Looks; without an end when absent. */
  count?: number;
  json?: true;
}

const ENTER = '\u001b[?1049h\u001b[?25l';
const LEAVE = '\u001b[?25h\u001b[?1049l';
const HOME = '\u001b[H';
const REST_OF_LINE = '\u001b[K';
const REST_OF_SCREEN = '\u001b[J';
/** q, Ctrl-C and Ctrl-D. */
const LEAVING = ['q', 'Q', '\u0003', '\u0004'];
const PATIENCE_MS = 5_000;

/** The pools as they are now, and what was counted. */
class Looker {
  #client: FabricClient | undefined;

  constructor(readonly dataDirectory: string) {}

  async look(): Promise<Look> {
    try {
      // Kept, so that a look takes no login; its token ends within the hour, and then there is another.
      const client = (this.#client ??= await connect(this.dataDirectory, PATIENCE_MS));
      const [status, figures, meter] = await Promise.all([
        client.status(),
        client.call('GET', '/trivet/figures') as Promise<FabricFigures>,
        meterOf(client),
      ]);
      return { atMs: performance.now(), status, figures, meter };
    } catch (error) {
      this.#client = undefined;
      throw error;
    }
  }
}

// Where nobody counts what pools cost, nothing is shown of it.
async function meterOf(client: FabricClient): Promise<Meter | undefined> {
  try {
    return (await client.call('GET', '/trivet/meter')) as Meter;
  } catch (error) {
    if (error instanceof CommandError) return undefined;
    throw error;
  }
}

export async function watch(options: WatchOptions): Promise<void> {
  const looker = new Looker(options.dataDir);
  // What is wrong from the start is said as by any other command, before anything is painted.
  const first = await looker.look();
  if (options.json) await repeat(looker, first, options, (_before, now) => print(JSON.stringify(now)));
  else if (process.stdout.isTTY) await inTerminal(looker, first, options);
  else await repeat(looker, first, options, (before, now) => print(`${view(before, now).join('\n')}\n`));
}

/** Shows look after look, until there were as many as were asked for, or `leave` says so. */
async function repeat(
  looker: Looker,
  first: Look,
  { interval, count = Infinity }: WatchOptions,
  display: (before: Look | undefined, now: Look) => void,
  leave?: Promise<void>,
  lost?: (why: string) => void,
): Promise<void> {
  let before: Look | undefined;
  let now: Look | undefined = first;
  let left = false;
  void leave?.then(() => (left = true));
  for (let shown = 1; !left; shown += 1) {
    if (now) {
      display(before, now);
      before = now;
    }
    if (shown >= count) return;
    const pause = new Promise<void>((resolve) => setTimeout(resolve, interval * 1_000));
    await (leave ? Promise.race([pause, leave]) : pause);
    try {
      now = await looker.look();
    } catch (error) {
      // A fabric that is started again is there again in a moment.
      if (!lost || !(error instanceof CommandError)) throw error;
      now = undefined;
      lost(error.message);
    }
  }
}

async function inTerminal(looker: Looker, first: Look, options: WatchOptions): Promise<void> {
  const { stdin, stdout } = process;
  const { leave, forget } = leaving();
  stdout.write(ENTER);
  const restore = (): void => void stdout.write(LEAVE);
  process.once('exit', restore);
  try {
    await repeat(
      looker,
      first,
      options,
      (before, now) => paint([...view(before, now), '', 'q: leave']),
      leave,
      (why) => paint([`no answer: ${why}`, '', 'q: leave']),
    );
  } finally {
    forget();
    stdin.pause();
    process.off('exit', restore);
    restore();
  }
}

/** Cut to the size of the screen, and painted over what is there without a flicker. */
function paint(lines: readonly string[]): void {
  // A terminal may not know its size, and then says 0.
  const columns = process.stdout.columns || 80;
  const rows = process.stdout.rows || 24;
  const cut = lines.slice(0, rows - 1).map((line) => `${line.slice(0, columns)}${REST_OF_LINE}`);
  process.stdout.write(`${HOME}${cut.join('\r\n')}\r\n${REST_OF_SCREEN}`);
}

/** Resolves on `q`, Ctrl-C or a signal. */
function leaving(): { leave: Promise<void>; forget: () => void } {
  const { stdin } = process;
  let tell: () => void = () => undefined;
  const leave = new Promise<void>((resolve) => (tell = resolve));
  const hear = (typed: Buffer): void => {
    if (LEAVING.some((key) => typed.includes(key))) tell();
  };
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const signal of signals) process.on(signal, tell);
  if (stdin.isTTY) stdin.setRawMode(true);
  stdin.on('data', hear);
  return {
    leave,
    forget: () => {
      for (const signal of signals) process.off(signal, tell);
      stdin.off('data', hear);
      if (stdin.isTTY) stdin.setRawMode(false);
    },
  };
}
