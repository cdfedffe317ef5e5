// Outages: the pool cannot do it now, whoever asks.

export type OutageCode =
  /** A member of the view is missing; it certainly did not happen. */
  | 'TooFewInSync'
  /** More is under way than the members could be sent again; it certainly did not happen. */
  | 'TooMuchUndecided'
  /** Submitted, then the way to the primary was lost; it may or may not have happened. */
  | 'OutcomeUnknown'
  /** A read depends on a mutation that is not decided. */
  | 'Undecided'
  /** Not yet serving, or leaving. */
  | 'NotServing';

export class Outage extends Error {
  override readonly name = 'Outage';
  constructor(
    readonly code: OutageCode,
    detail: string,
  ) {
    super(detail);
  }
}
