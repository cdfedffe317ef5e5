// Numbers and moments as people read them. Pure.

/** Seconds since 1970 as a date of UTC; a dash for none. */
export function dateText(seconds: number | undefined): string {
  return seconds === undefined ? '–' : isoText(seconds).slice(0, 10);
}

/** The same to the minute. */
export function momentText(seconds: number | undefined): string {
  return seconds === undefined ? '–' : isoText(seconds).slice(0, 16).replace('T', ' ');
}

function isoText(seconds: number): string {
  return new Date(seconds * 1_000).toISOString();
}

export function rateText(rate: number): string {
  return rate > 0 && rate < 10 ? rate.toFixed(1) : String(Math.round(rate));
}

/** The bound of a bucket of latencies, in seconds; undefined when nothing was measured. */
export function boundText(seconds: number | undefined): string {
  return seconds === undefined ? '–' : `≤ ${seconds * 1_000} ms`;
}

export function countText(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** Hours and minutes where the reader is. */
export function clockText(milliseconds: number): string {
  const at = new Date(milliseconds);
  return `${String(at.getHours()).padStart(2, '0')}:${String(at.getMinutes()).padStart(2, '0')}`;
}

/** The last segment of an address, such as a key's name. */
export function lastOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
