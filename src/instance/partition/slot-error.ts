// How the work of a slot fails, as a closed set. What the module said is the `cause`; it never reaches a caller.

export type SlotErrorCode =
  /** The ciphertext, its tag or its padding is wrong: one error for all, whatever it was. */
  | 'BadCiphertext'
  /** Key material that is inconsistent, or of a kind that no slot takes. */
  | 'BadKeyMaterial'
  /** A wrapped key that does not open, or is not what it is said to be: one error for all. */
  | 'BadWrappedKey'
  /** More input than the key or the mechanism can take. */
  | 'TooLong'
  /** The slot did not do what it can do otherwise. */
  | 'SlotFailed';

export class SlotError extends Error {
  override readonly name = 'SlotError';
  constructor(
    readonly code: SlotErrorCode,
    what: string,
    cause?: unknown,
  ) {
    super(what, { cause });
  }
}
