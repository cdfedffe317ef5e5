// The meter: a record of every pool's life, and what it has cost. An event is on the disk before it is acknowledged;
// one that is reported again counts once. Records outlive their pools. Knows no process and no port.
import { LAST_SECOND, type Seconds } from '../../values/moments.js';
import type { EventSink } from '../../values/pool-event.js';
import { costs, isNews, MICROS } from './cost.js';
import type { MeterEvent, MeterRecord, PoolCost } from './cost.js';
import { Journal, JournalError } from './journal.js';

export type { MeterEvent, PoolCost };

/** What all amounts are in. */
export const CURRENCY = 'EUR';
/**
 * Euro for a started hour of a pool in one region, unless somebody says otherwise: of the order of what the service
 * takes for its smallest class (Standard_B1), and nobody's offer.
 */
export const DEFAULT_RATE = 3.2;
/** Euro an hour. */
const RATE_MAX = 1_000_000;

/** What `trivet meter` shows. */
export interface MeterReport {
  readonly pools: readonly PoolCost[];
  readonly total: number;
  readonly currency: string;
  /** What an hour that begins now costs. */
  readonly ratePerHour: number;
  /** By the clock of the pools. */
  readonly time: Seconds;
}

export class Meter implements EventSink {
  readonly #journal: Journal;
  readonly #records: MeterRecord[];
  readonly #now: () => Seconds;

  /** `now` is the clock of the pools. Throws a {@link JournalError} when the records cannot be read. */
  constructor(path: string, now: () => Seconds, rate?: number) {
    const { journal, lines } = Journal.open(path);
    try {
      this.#records = lines.map((line, place) => recordIn(path, line, place + 1));
    } catch (error) {
      journal.close();
      throw error;
    }
    this.#journal = journal;
    this.#now = now;
    const before = this.#rate;
    const wanted = rate === undefined ? (before ?? DEFAULT_RATE * MICROS) : Math.round(rate * MICROS);
    // From now on, and never for what was before.
    if (wanted !== before) this.#append({ kind: 'rate', time: now(), microsPerHour: wanted });
  }

  /**
   * Takes note of what has happened; on the disk when it returns. Throws a {@link JournalError} when it cannot be
   * written.
   */
  record(event: MeterEvent): void {
    if (isNews(this.#records, event)) this.#append(event);
  }

  report(): MeterReport {
    const now = this.#now();
    const pools = costs(this.#records, now);
    const total = pools.reduce((sum, { cost }) => sum + Math.round(cost * MICROS), 0) / MICROS;
    return { pools, total, currency: CURRENCY, ratePerHour: (this.#rate ?? 0) / MICROS, time: now };
  }

  close(): void {
    this.#journal.close();
  }

  get #rate(): number | undefined {
    return this.#records.findLast((record) => record.kind === 'rate')?.microsPerHour;
  }

  #append(record: MeterRecord): void {
    this.#journal.append(record);
    this.#records.push(record);
  }
}

/** An amount of euro that an hour may cost; undefined for anything else. */
export function rateIn(written: string): number | undefined {
  if (!/^[0-9]{1,7}(\.[0-9]{1,6})?$/.test(written)) return undefined;
  const rate = Number(written);
  return rate <= RATE_MAX ? rate : undefined;
}

// Written by us, and read before anything heavy is loaded: checked by hand.
function recordIn(path: string, line: unknown, number: number): MeterRecord {
  if (isRecord(line)) return line;
  throw new JournalError(`${path} holds no record of the meter in line ${number}; restore it from a backup`);
}

function isRecord(line: unknown): line is MeterRecord {
  if (typeof line !== 'object' || line === null) return false;
  const { kind, time, ...rest } = line as Partial<Record<string, unknown>>;
  if (!isCount(time, LAST_SECOND)) return false;
  const isText = (name: string): boolean => typeof rest[name] === 'string' && rest[name] !== '';
  const isEvent = isCount(rest['sequence'], Number.MAX_SAFE_INTEGER) && isText('poolId');
  switch (kind as MeterRecord['kind']) {
    case 'rate':
      return isCount(rest['microsPerHour'], RATE_MAX * MICROS);
    case 'provisioned':
    case 'softDeleted':
    case 'recovered':
    case 'purged':
      return isEvent && ['name', 'resourceId', 'location'].every(isText);
    case 'regionAdded':
    case 'regionRemoved':
      return isEvent && isText('region');
    default:
      return false;
  }
}

function isCount(value: unknown, most: number): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= most;
}
