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

/** What instances did between two looks, busiest first. One that was started again meanwhile begins at nothing. */
export function trafficBetween(
  before: ReadonlyMap<number, InstanceFigures>,
  now: ReadonlyMap<number, InstanceFigures>,
  seconds: number,
): Traffic[] {
  const kinds = new Map<string, { counts: Record<string, number>; buckets: number[] }>();
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
  return [...kinds]
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

/** The bound of the bucket that a share of all is in. */
function quantile(buckets: readonly number[], total: number, share: number): number | undefined {
  if (total === 0) return undefined;
  const place = buckets.findIndex((count) => count >= share * total);
  return BUCKETS[place];
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}
