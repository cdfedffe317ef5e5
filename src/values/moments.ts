// Moments: whole seconds since 1970, the unit of the service's API and of every stored record.

/** Seconds since 1970-01-01T00:00:00Z, whole. */
export type Seconds = number;

export const DAY: Seconds = 86_400;

/** The last second of the year 9999: later dates have no place in the service's API, nor in what its clients read. */
export const LAST_SECOND: Seconds = 253_402_300_799;
