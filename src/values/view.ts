// The view of a pool: who takes part, and who orders. One authority owns it, and raises its epoch with every change.

/**
 * A member is a store, not a place: the random id that a store gets when it is created. An instance that comes back
 * with another store is another member.
 */
export interface Member {
  /** 0, 1 or 2. */
  readonly instance: number;
  readonly store: string;
}

export interface View {
  /** From 1; raised with every change. */
  readonly epoch: number;
  /** The instance that orders; one of `inSync`. */
  readonly primary: number;
  /** Who must hold an entry before it is committed; sorted by instance, each at most once, never empty. */
  readonly inSync: readonly Member[];
}

/** Whether this very store takes part. */
export function isMember({ inSync }: View, { instance, store }: Member): boolean {
  return inSync.some((member) => member.instance === instance && member.store === store);
}

/**
 * How long a lease lasts from when it was asked for, in milliseconds of CLOCK_BOOTTIME. An instance serves only while
 * it holds one, and is not dropped from the view before it ends.
 */
export const LEASE_MS = 2_000;
