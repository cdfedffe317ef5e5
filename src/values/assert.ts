// Assertions: for what must be true whatever anybody sends. A broken one stops the process.

/** A broken assumption of our own code; never the answer to a bad request. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

/** Throws {@link AssertionError} unless `condition` holds. */
export function assert(condition: boolean, what: string): asserts condition {
  if (!condition) throw new AssertionError(what);
}

/** Marks the default branch of a switch over a closed set; a new member fails to compile here. */
export function unreachable(value: never): never {
  throw new AssertionError(`unexpected value ${JSON.stringify(value)}`);
}
