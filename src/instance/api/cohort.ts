// Work that becomes ready in one turn of the event loop is done together at the turn's end. Reading requests,
// working in the slot and writing answers each fill a processor's caches; taken request by request they push each
// other out, and a P-256 signature then costs two to three times what it costs right after another one.

/** Gives a function that takes an item; `work` is called at the end of the turn with all that were taken in it. */
export function createCohort<T>(work: (items: readonly T[]) => void): (item: T) => void {
  let waiting: T[] = [];
  const begin = () => {
    const items = waiting;
    waiting = [];
    work(items);
  };
  return (item) => {
    if (waiting.push(item) === 1) setImmediate(begin);
  };
}
