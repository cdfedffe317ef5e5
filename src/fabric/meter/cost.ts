// What pools cost: records in, hours and money out. Pure; knows no clock and no file.
//
// - An hour that has begun counts, from provisioning until purge: soft-deleted time is charged like any other.
// - An hour costs what held when it began, so a new rate changes nothing that was charged before.
// - Every region of a pool is charged by itself. A region that is removed is charged until then.
// - Records are never changed or taken away. A name that is used again is another pool, and an entry of its own.
import type { Seconds } from '../../values/moments.js';
import type { PoolEvent } from '../../values/pool-event.js';

/** Stands for the region that a pool was provisioned in, which it has until its end. */
const FIRST_REGION = '';
const HOUR: Seconds = 3_600;
/** Money is counted in millionths of a euro: sums of them are exact. */
export const MICROS = 1_000_000;

/** What happens to a pool that is charged for: its life, and the regions that it is extended to. */
export type MeterEvent = PoolEvent | RegionEvent;

export interface RegionEvent extends Pick<PoolEvent, 'sequence' | 'poolId' | 'time'> {
  readonly kind: 'regionAdded' | 'regionRemoved';
  readonly region: string;
}

/** From now on an hour costs so much. */
export interface RateSet {
  readonly kind: 'rate';
  readonly time: Seconds;
  /** Millionths of a euro an hour. */
  readonly microsPerHour: number;
}

export type MeterRecord = MeterEvent | RateSet;

export type MeteredState = 'Provisioned' | 'SoftDeleted' | 'Purged';

/** One pool's life so far. */
export interface PoolCost {
  readonly name: string;
  readonly state: MeteredState;
  /** Begun hours, over all its regions. */
  readonly hours: number;
  /** Euro. */
  readonly cost: number;
  readonly provisioned: Seconds;
  readonly purged: Seconds | null;
}

/** A stretch of time in one region; open while it has no end. */
interface Stretch {
  readonly from: Seconds;
  until: Seconds | undefined;
}

interface Life {
  readonly name: string;
  readonly provisioned: Seconds;
  state: MeteredState;
  purged: Seconds | undefined;
  readonly open: Map<string, Stretch>;
  readonly stretches: Stretch[];
}

/** Whether an event is news: false for one that the records have, or that changes nothing. */
export function isNews(records: readonly MeterRecord[], event: MeterEvent): boolean {
  const events = records.filter((record) => record.kind !== 'rate');
  if (events.some(({ sequence }) => sequence === event.sequence)) return false;
  const life = livesOf(events.filter(({ poolId }) => poolId === event.poolId)).get(event.poolId);
  // Of a pool whose beginning was lost with an older file: charged for from the first that is heard of it.
  if (!life) return beginsLife(event);
  // What is purged has ended; whatever is told of it later is late.
  if (life.state === 'Purged') return false;
  switch (event.kind) {
    case 'provisioned':
      return false;
    case 'softDeleted':
      return life.state === 'Provisioned';
    case 'recovered':
      return life.state === 'SoftDeleted';
    case 'purged':
      return true;
    case 'regionAdded':
      return !life.open.has(event.region);
    case 'regionRemoved':
      return event.region !== FIRST_REGION && life.open.has(event.region);
  }
}

/** What each pool has cost until `now`, in the order in which they were provisioned. */
export function costs(records: readonly MeterRecord[], now: Seconds): PoolCost[] {
  const rates = records.filter((record) => record.kind === 'rate');
  return [...livesOf(records).values()].map((life) => {
    const charged = life.stretches.map((stretch) => charge(stretch, now, rates));
    return {
      name: life.name,
      state: life.state,
      hours: charged.reduce((sum, { hours }) => sum + hours, 0),
      cost: charged.reduce((sum, { micros }) => sum + micros, 0) / MICROS,
      provisioned: life.provisioned,
      purged: life.purged ?? null,
    };
  });
}

function livesOf(records: readonly MeterRecord[]): Map<string, Life> {
  const lives = new Map<string, Life>();
  for (const record of records) {
    if (record.kind === 'rate') continue;
    const life = lives.get(record.poolId);
    if (life) live(life, record);
    else if (beginsLife(record)) lives.set(record.poolId, begin(record));
  }
  return lives;
}

type Beginning = PoolEvent & { readonly kind: Exclude<PoolEvent['kind'], 'purged'> };

function beginsLife(event: MeterEvent): event is Beginning {
  return event.kind === 'provisioned' || event.kind === 'softDeleted' || event.kind === 'recovered';
}

function begin({ kind, name, time }: Beginning): Life {
  const first: Stretch = { from: time, until: undefined };
  return {
    name,
    provisioned: time,
    state: kind === 'softDeleted' ? 'SoftDeleted' : 'Provisioned',
    purged: undefined,
    open: new Map([[FIRST_REGION, first]]),
    stretches: [first],
  };
}

function live(life: Life, record: MeterEvent): void {
  switch (record.kind) {
    case 'provisioned':
      break;
    case 'softDeleted':
      life.state = 'SoftDeleted';
      break;
    case 'recovered':
      life.state = 'Provisioned';
      break;
    case 'purged':
      life.state = 'Purged';
      life.purged = record.time;
      for (const stretch of life.open.values()) stretch.until = record.time;
      life.open.clear();
      break;
    case 'regionAdded': {
      const stretch: Stretch = { from: record.time, until: undefined };
      life.open.set(record.region, stretch);
      life.stretches.push(stretch);
      break;
    }
    case 'regionRemoved': {
      const stretch = life.open.get(record.region);
      if (stretch) stretch.until = record.time;
      life.open.delete(record.region);
      break;
    }
  }
}

// Rates are few and hours are many: each rate is multiplied by the hours that began while it held.
function charge(
  { from, until }: Stretch,
  now: Seconds,
  rates: readonly RateSet[],
): { readonly hours: number; readonly micros: number } {
  // The first hour has begun with the stretch itself. A clock that was set back makes nothing negative.
  const hours = Math.max(1, Math.ceil(((until ?? now) - from) / HOUR));
  let micros = 0;
  let counted = 0;
  rates.forEach(({ microsPerHour }, place) => {
    const next = rates[place + 1];
    const through = next === undefined ? hours : clamp(Math.ceil((next.time - from) / HOUR), counted, hours);
    micros += (through - counted) * microsPerHour;
    counted = through;
  });
  return { hours, micros };
}

function clamp(number: number, least: number, most: number): number {
  return Math.min(Math.max(number, least), most);
}
