/** Something that the harness cannot do; the message says what is wrong and what to do about it. */
export class HarnessError extends Error {
  override readonly name = 'HarnessError';
}
