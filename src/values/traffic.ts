// What instances did between two looks at their figures. Pure; knows no clock.
import { BUCKETS, type InstanceFigures } from './figures.js';

/** Every operation of one kind between two looks. */
export interface Traffic {
  readonly operation: string;
  /** A second. */
  readonly rate: number;
  readonly refused: number;
  readonly failed: number;
  /** Seconds, not above the next of {@link BUCKETS}; undefined when nothing happened, or it took longer than all. */
  readonly median: number | undefined;
  readonly slowest1Percent: number | undefined;
}

interface Counted {
  readonly counts: Record<string, number>;
  buckets: number[];
}

/** What instances did between two looks, busiest first. One that was started again meanwhile begins at nothing. */
export function trafficBetween(
  before: ReadonlyMap<number, InstanceFigures>,
  now: ReadonlyMap<number, InstanceFigures>,
  seconds: number,
): Traffic[] {
  return [...countedBetween(before, now)]
    .map(([operation, { counts, buckets }]) => {
      const total = sumOf(Object.values(counts));
      return {
        operation,
        rate: total / seconds,
        refused: (counts['refused'] ?? 0) / seconds,
        failed: (counts['failed'] ?? 0) / seconds,
        median: quantile(buckets, total, 0.5),
        slowest1Percent: quantile(buckets, total, 0.99),
      };
    })
    .sort((a, b) => b.rate - a.rate || (a.operation < b.operation ? -1 : 1));
}

/** Quantiles of all operations together, as in {@link Traffic}. */
export function latencyBetween(
  before: ReadonlyMap<number, InstanceFigures>,
  now: ReadonlyMap<number, InstanceFigures>,
): Pick<Traffic, 'median' | 'slowest1Percent'> {
  const all = [...countedBetween(before, now).values()];
  const total = sumOf(all.flatMap(({ counts }) => Object.values(counts)));
  const buckets = BUCKETS.map((_, place) => sumOf(all.map((one) => one.buckets[place] ?? 0)));
  return { median: quantile(buckets, total, 0.5), slowest1Percent: quantile(buckets, total, 0.99) };
}

/** By operation. */
function countedBetween(
  before: ReadonlyMap<number, InstanceFigures>,
  now: ReadonlyMap<number, InstanceFigures>,
): Map<string, Counted> {
  const kinds = new Map<string, Counted>();
  for (const [instance, figures] of now) {
    const earlier = before.get(instance);
    if (!earlier) continue;
    for (const { operation, result, count, buckets } of figures.requests) {
      const was = earlier.requests.find((one) => one.operation === operation && one.result === result);
      const again = was !== undefined && was.count > count;
      const known = again ? undefined : was;
      const kind = kinds.get(operation) ?? { counts: {}, buckets: BUCKETS.map(() => 0) };
      kind.counts[result] = (kind.counts[result] ?? 0) + count - (known?.count ?? 0);
      kind.buckets = kind.buckets.map(
        (sum, place) => sum + (buckets[place] ?? 0) - (known?.buckets[place] ?? 0),
      );
      kinds.set(operation, kind);
    }
  }
  return kinds;
}

/** The bound of the bucket that a share of all is in. */
function quantile(buckets: readonly number[], total: number, share: number): number | undefined {
  if (total === 0) return undefined;
  const place = buckets.findIndex((count) => count >= share * total);
  return BUCKETS[place];
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}
