// When an instance that has ended is started again, and on what: the rules, as a pure function. Knows no process, no
// directory and no clock.

/** The first wait after an early end, in milliseconds; each further one in a row doubles it. */
const BACKOFF_MS_MIN = 250;
const BACKOFF_MS_MAX = 30_000;
/** An end within so long of the start, without having served, is an early one. */
const EARLY_MS = 30_000;
/** So many early ends in a row, and what lies in the directory is taken for the cause. */
const EARLY_ENDS_MAX = 3;

/** What earlier ends of one instance have left to remember. */
export interface History {
  /** Early ends in a row. */
  readonly early: number;
  /** The same, without those that say nothing about the directory. */
  readonly suspicious: number;
  /** The directory was set aside, and no process has served on its successor yet. */
  readonly renewed: boolean;
}

export const NO_HISTORY: History = { early: 0, suspicious: 0, renewed: false };

/** How a process ended. */
export interface End {
  /** Between its start and its end, in milliseconds. */
  readonly livedMs: number;
  readonly served: boolean;
  /** It said that what lies in its directory cannot be used. */
  readonly damaged: boolean;
  /** It never ran: another process holds the directory's lock. */
  readonly locked: boolean;
  /** The view still lists this instance: nobody else may have what it has. */
  readonly member: boolean;
}

export interface Restart {
  readonly history: History;
  readonly waitMs: number;
  /**
   * What it starts on: `same`; `aside`: an empty directory, with the old one kept; `empty`: an empty one, and nobody has
   * ever served on the old.
   */
  readonly directory: 'same' | 'aside' | 'empty';
}

/** What to do after an end. */
export function planRestart(before: History, end: End): Restart {
  const renewed = before.renewed && !end.served;
  const early = !end.served && end.livedMs < EARLY_MS ? before.early + 1 : 0;
  const suspicious = early === 0 ? 0 : before.suspicious + (end.locked ? 0 : 1);
  const waitMs = early === 0 ? 0 : Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** (early - 1));
  const spoilt = !end.locked && (end.damaged || suspicious >= EARLY_ENDS_MAX);
  if (end.member || !spoilt) return { history: { early, suspicious, renewed }, waitMs, directory: 'same' };
  return {
    history: { early, suspicious: 0, renewed: true },
    waitMs,
    directory: renewed ? 'empty' : 'aside',
  };
}
