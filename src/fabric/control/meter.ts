// What the pools cost, as the control plane shows it.
import type { Meter } from '../meter/meter.js';
import type { MeteredState } from '../meter/cost.js';

export type MeterParts = Pick<Meter, 'report'>;

/** What `trivet meter --json` prints: members are never taken away, and new ones come at the end. */
export interface MeterStatus {
  /** In the order in which they were provisioned; those that were purged too. */
  readonly pools: readonly {
    readonly name: string;
    readonly state: MeteredState;
    /** Begun hours, over all regions of the pool. */
    readonly hours: number;
    readonly cost: number;
    /** ISO 8601; null while it is not purged. */
    readonly provisioned: string;
    readonly purged: string | null;
  }[];
  readonly total: number;
  /** What amounts are in. */
  readonly currency: string;
  /** What an hour costs that begins now. */
  readonly ratePerHour: number;
  /** By the clock of the pools. */
  readonly time: string;
}

export function meterStatus(meter: MeterParts): MeterStatus {
  const { pools, total, currency, ratePerHour, time } = meter.report();
  return {
    pools: pools.map(({ name, state, hours, cost, provisioned, purged }) => ({
      name,
      state,
      hours,
      cost,
      provisioned: timeText(provisioned),
      purged: purged === null ? null : timeText(purged),
    })),
    total,
    currency,
    ratePerHour,
    time: timeText(time),
  };
}

function timeText(seconds: number): string {
  return new Date(seconds * 1_000).toISOString().replace('.000Z', 'Z');
}
