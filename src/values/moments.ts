// Moments: whole seconds since 1970, the unit of the service's API and of every stored record.

/** Seconds since 1970-01-01T00:00:00Z, whole. */
export type Seconds = number;

export const DAY: Seconds = 86_400;
