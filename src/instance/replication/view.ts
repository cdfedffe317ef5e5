// The view: who takes part, and who orders. It is the same for the life of a pool in this build: all three
// instances, the first of them primary. A member that is missing is missed by every write.

export interface View {
  /** Raised with every change of the view. */
  readonly epoch: number;
  readonly primary: number;
  /** Members that must hold an entry before it is committed. */
  readonly inSync: readonly number[];
}

export const FIXED_VIEW: View = { epoch: 1, primary: 0, inSync: [0, 1, 2] };
