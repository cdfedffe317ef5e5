// How many requests there were, how they ended and how long they took: by operation and result, since the start. On the
// path of every request, so it is a few additions and no more.
import { BUCKETS, type RequestFigures, type RequestResult } from '../../values/figures.js';

interface Counted {
  readonly operation: string;
  readonly result: RequestResult;
  count: number;
  seconds: number;
  /** By the smallest bound that is not exceeded; the last place is for what exceeds them all. */
  readonly within: number[];
}

export class RequestCounts {
  readonly #all = new Map<string, Record<RequestResult, Counted>>();

  /** `seconds`: from the request's head to its answer. */
  add(operation: string, status: number, seconds: number): void {
    let results = this.#all.get(operation);
    if (!results) {
      results = {
        success: none(operation, 'success'),
        refused: none(operation, 'refused'),
        failed: none(operation, 'failed'),
      };
      this.#all.set(operation, results);
    }
    const counted = results[status < 400 ? 'success' : status < 500 ? 'refused' : 'failed'];
    counted.count += 1;
    counted.seconds += seconds;
    let place = 0;
    while (place < BUCKETS.length && seconds > (BUCKETS[place] ?? 0)) place += 1;
    counted.within[place] = (counted.within[place] ?? 0) + 1;
  }

  /** Only what has happened. */
  figures(): RequestFigures[] {
    return [...this.#all.values()]
      .flatMap(({ success, refused, failed }) => [success, refused, failed])
      .filter(({ count }) => count > 0)
      .map(({ within, ...rest }) => {
        let sum = 0;
        return { ...rest, buckets: BUCKETS.map((_, place) => (sum += within[place] ?? 0)) };
      });
  }
}

function none(operation: string, result: RequestResult): Counted {
  return { operation, result, count: 0, seconds: 0, within: new Array<number>(BUCKETS.length + 1).fill(0) };
}
