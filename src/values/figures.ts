// What an instance counts of its own work, as it tells its fabric. Numbers only: no name of a key, no caller.

/** Upper bounds of the buckets of {@link RequestFigures.buckets}, in seconds; what is longer is in none. */
export const BUCKETS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
] as const;

/** How a request ended: 2xx and 3xx, 4xx, 5xx. */
export type RequestResult = 'success' | 'refused' | 'failed';

/** Requests of one operation that ended alike, since the instance was started. */
export interface RequestFigures {
  /** As the audit log names it. */
  readonly operation: string;
  readonly result: RequestResult;
  readonly count: number;
  /** All of them together, from the request's head to its answer. */
  readonly seconds: number;
  /** How many took no longer than each of {@link BUCKETS}; each counts those of the ones before too. */
  readonly buckets: readonly number[];
}

export interface InstanceFigures {
  readonly requests: readonly RequestFigures[];
  /** Open TLS connections of clients. */
  readonly connections: number;
  /** Index of the newest committed mutation. */
  readonly committed: number;
  /** Mutations in the log that are not committed yet. */
  readonly undecided: number;
  readonly keys: number;
  /** Keys that are open in the slot. */
  readonly openKeys: number;
  /** State and log on the disk. */
  readonly storeBytes: number;
  readonly auditBytes: number;
  readonly cpuSeconds: number;
  readonly residentBytes: number;
}
