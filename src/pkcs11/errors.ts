// What this library itself refuses. What a module refuses is a Pkcs11Error, with its CKR code.

export type TokenErrorCode =
  /** The token was closed before the call got a session. */
  | 'Closed'
  /** As many calls as may wait are waiting. */
  | 'QueueFull'
  /** No session came free in the time that the call may wait. */
  | 'TimedOut'
  /** No slot has the token that was asked for. */
  | 'NoSuchToken'
  /** More than one has: name it by its slot. */
  | 'AmbiguousToken';

/** A refusal without the module. Of a call that is refused so, nothing was done. */
export class TokenError extends Error {
  override readonly name = 'TokenError';
  readonly code: TokenErrorCode;

  constructor(code: TokenErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
