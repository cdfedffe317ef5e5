// Durations as ISO 8601 writes them (section 5.5.2.2 of 8601-1:2019, whole numbers only), and adding them to a moment
// by the calendar of UTC. Pure.
import { DAY, type Seconds } from './moments.js';

/** Whole numbers, none negative. A month is a step in the calendar and no number of seconds. */
export interface Duration {
  readonly years: number;
  readonly months: number;
  readonly weeks: number;
  readonly days: number;
  readonly hours: number;
  readonly minutes: number;
  readonly seconds: number;
}

// Designators in their order, each at most once; at least one in all, and one after a T.
const FORM =
  /^P(?=[0-9T])(?:([0-9]+)Y)?(?:([0-9]+)M)?(?:([0-9]+)W)?(?:([0-9]+)D)?(?:T(?=[0-9])(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+)S)?)?$/;
const LENGTH_MAX = 64;
const MINUTE = 60;
const HOUR = 60 * MINUTE;
/** 10,000 years: from any moment that the service knows, either way, this stays where dates are exact. */
const LONGEST: Seconds = 10_000 * 366 * DAY;

/**
 * Reads e.g. `P30D`, `PT1H` or `P1Y2M3DT4H`. Undefined for what is no duration: fractions, signs, small letters, no
 * number at all, and what is longer than 10,000 years. `P0D` is one.
 */
export function parseDuration(text: string): Duration | undefined {
  const match = text.length <= LENGTH_MAX ? FORM.exec(text) : null;
  if (!match) return undefined;
  const part = (place: number): number => Number(match[place] ?? 0);
  const duration = {
    years: part(1),
    months: part(2),
    weeks: part(3),
    days: part(4),
    hours: part(5),
    minutes: part(6),
    seconds: part(7),
  };
  const longest = (duration.years * 366 + duration.months * 31) * DAY + exactSeconds(duration);
  return longest <= LONGEST ? duration : undefined;
}

/**
 * The moment that is `duration` after `time`, or before it with `sign` -1. Years and months come first and keep the
 * day of the month, or take the month's last day where it has no such day; the rest is exact.
 */
export function addDuration(time: Seconds, duration: Duration, sign: 1 | -1 = 1): Seconds {
  const months = duration.years * 12 + duration.months;
  return addMonths(time, sign * months) + sign * exactSeconds(duration);
}

function exactSeconds({ weeks, days, hours, minutes, seconds }: Duration): Seconds {
  return (weeks * 7 + days) * DAY + hours * HOUR + minutes * MINUTE + seconds;
}

function addMonths(time: Seconds, months: number): Seconds {
  if (months === 0) return time;
  const date = new Date(time * 1_000);
  const day = date.getUTCDate();
  date.setUTCMonth(date.getUTCMonth() + months, 1); // the first exists in every month
  const next = new Date(date);
  next.setUTCMonth(next.getUTCMonth() + 1, 0);
  date.setUTCDate(Math.min(day, next.getUTCDate()));
  return date.getTime() / 1_000;
}
