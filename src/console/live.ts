// Looks at the pools again and again while somebody looks at the page, and remembers the last minutes for the charts.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { InstanceFigures } from '../values/figures.js';
import { latencyBetween, trafficBetween, type Traffic } from '../values/traffic.js';
import { askControl, Refused, Unreachable, type Session } from './session.js';
import type { Figures, Pool, Status } from './shapes.js';

/** What was seen of one pool at one moment. */
export interface Sample {
  /** Seconds since 1970. */
  readonly at: number;
  /** Operations a second by the kinds of {@link KINDS}; null where nothing is known. */
  readonly rates: readonly (number | null)[];
  /** Seconds. */
  readonly median: number | null;
  readonly slowest: number | null;
  /** Mutations that each partition is behind the newest; null for one that does not say. */
  readonly lags: readonly (number | null)[];
}

export interface PoolView {
  readonly pool: Pool;
  readonly figures: ReadonlyMap<number, InstanceFigures>;
  readonly traffic: readonly Traffic[];
  readonly samples: readonly Sample[];
}

export interface Live {
  /** Undefined before the first answer. */
  readonly pools: readonly PoolView[] | undefined;
  /** Why the figures may not be seen. */
  readonly refused: Refused | undefined;
  /** Since when nobody answers, in milliseconds since 1970. */
  readonly lostSince: number | undefined;
}

/** Kinds of operations that the charts tell apart, by the names of the audit log. */
export const KINDS: readonly (readonly [name: string, fits: RegExp])[] = [
  ['Sign, verify', /^Key(Sign|Verify)$/],
  ['Encrypt, wrap', /^Key(Encrypt|Decrypt|Wrap|Unwrap|SecureWrap|SecureUnwrap|Release)$|^RandomBytesGet$/],
  ['Changes', /(Create|Import|Update|Delete|Restore|Rotate|Set|Recover|Purge|Start|Check|Backup)$/],
  ['Reads and others', /./],
];

const LOOK_MS = 1_000;
/** Between two looks while nobody answers. */
const LOST_MS = 2_000;
const SAMPLES_MAX = 300;

interface Looked {
  readonly at: number;
  readonly figures: ReadonlyMap<string, ReadonlyMap<number, InstanceFigures>>;
}

/** `ended` is told when the tokens are not believed any more. */
export function useLive(session: Session, paused: boolean, ended: (why: string) => void): Live {
  const [live, setLive] = useState<Live>({ pools: undefined, refused: undefined, lostSince: undefined });
  const before = useRef<Looked | undefined>(undefined);
  const samples = useRef(new Map<string, readonly Sample[]>());

  useEffect(() => {
    if (paused) return undefined;
    let timer: number | undefined;
    let left = false;

    const look = async (): Promise<number | undefined> => {
      try {
        const [status, figures] = await Promise.all([
          askControl<Status>(session, '/trivet/status'),
          askControl<Figures>(session, '/trivet/figures'),
        ]);
        const now: Looked = { at: Date.now() / 1_000, figures: byPool(figures) };
        const pools = status.pools.map((pool) => seen(pool, before.current, now, samples.current));
        before.current = now;
        if (!left) setLive({ pools, refused: undefined, lostSince: undefined });
        return LOOK_MS;
      } catch (error) {
        if (left) return undefined;
        if (error instanceof Refused && error.status === 401) {
          ended('The session has ended: the fabric does not believe its token any more.');
          return undefined;
        }
        if (error instanceof Refused && error.status === 403) {
          setLive({ pools: undefined, refused: error, lostSince: undefined });
          return undefined;
        }
        if (!(error instanceof Refused) && !(error instanceof Unreachable)) throw error;
        setLive((was) => ({ ...was, lostSince: was.lostSince ?? Date.now() }));
        return LOST_MS;
      }
    };
    const go = (): void => {
      if (document.hidden) return;
      timer = -1;
      void look().then((pause) => {
        timer = undefined;
        if (!left && pause !== undefined && !document.hidden) timer = window.setTimeout(go, pause);
      });
    };
    // Nothing is asked while nobody can see it.
    const seenAgain = (): void => {
      if (!document.hidden && timer === undefined) go();
      else if (document.hidden && timer !== undefined && timer !== -1) {
        window.clearTimeout(timer);
        timer = undefined;
      }
    };
    document.addEventListener('visibilitychange', seenAgain);
    go();
    return () => {
      left = true;
      window.clearTimeout(timer);
      document.removeEventListener('visibilitychange', seenAgain);
    };
  }, [session, paused]);

  return live;
}

function byPool({ pools }: Figures): Looked['figures'] {
  return new Map(
    pools.map(({ name, instances }) => [
      name,
      new Map(instances.map(({ instance, figures }) => [instance, figures])),
    ]),
  );
}

function seen(
  pool: Pool,
  before: Looked | undefined,
  now: Looked,
  all: Map<string, readonly Sample[]>,
): PoolView {
  const figures = now.figures.get(pool.name) ?? new Map<number, InstanceFigures>();
  const earlier = before?.figures.get(pool.name);
  const seconds = before === undefined ? 0 : now.at - before.at;
  const known = earlier !== undefined && seconds > 0;
  const traffic = known ? trafficBetween(earlier, figures, seconds) : [];
  const { median, slowest1Percent } = known
    ? latencyBetween(earlier, figures)
    : { median: undefined, slowest1Percent: undefined };
  const sample: Sample = {
    at: now.at,
    rates: KINDS.map((_, kind) => (known ? rateOf(traffic, kind) : null)),
    median: median ?? null,
    slowest: slowest1Percent ?? null,
    lags: pool.instances.map(({ id }) => lagOf(figures, id) ?? null),
  };
  const samples = [...(all.get(pool.name) ?? []), sample].slice(-SAMPLES_MAX);
  all.set(pool.name, samples);
  return { pool, figures, traffic, samples };
}

function rateOf(traffic: readonly Traffic[], kind: number): number {
  return traffic
    .filter(({ operation }) => KINDS.findIndex(([, fits]) => fits.test(operation)) === kind)
    .reduce((sum, { rate }) => sum + rate, 0);
}

/** How many mutations a partition is behind the one that has most. */
export function lagOf(figures: ReadonlyMap<number, InstanceFigures>, id: number): number | undefined {
  const own = figures.get(id);
  if (!own) return undefined;
  return Math.max(...[...figures.values()].map(({ committed }) => committed)) - own.committed;
}
