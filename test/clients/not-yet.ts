// The one list of what clients offer and the pool does not serve yet. Tests of it are skipped; it must be empty in the
// end, and then this file goes.

export type Feature = 'attestation' | 'release';

const NOT_YET: readonly Feature[] = ['attestation', 'release'];

export const isServed = (feature: string): boolean => !(NOT_YET as readonly string[]).includes(feature);

/** `describe`, when the pool serves it. */
export const describeServed = (feature: Feature): jest.Describe =>
  isServed(feature) ? describe : describe.skip;
