// What can be wrong with what custodians and callers hand in. Messages name what is wrong and never hold a secret.

/** The closed set of failures of this room. */
export type SecurityDomainCode =
  /** The certificates or the quorum of a request cannot be used. */
  | 'BadCertificates'
  /** Not a security domain file, or a damaged one. */
  | 'BadFile'
  /** Not a restore blob, or a damaged one. */
  | 'BadBlob'
  /** The restore blob was made for another exchange certificate. */
  | 'WrongExchangeKey'
  /** The restore blob's items are not the ones that belong in it. */
  | 'WrongItems'
  /** Fewer shares than the quorum; {@link SecurityDomainError.missing} says how many. */
  | 'TooFewShares'
  /** Shares that do not belong together, or a damaged one. */
  | 'BadShare'
  /** A private key that cannot be used, or does not belong to its certificate. */
  | 'BadKey';

export class SecurityDomainError extends Error {
  override readonly name = 'SecurityDomainError';
  constructor(
    readonly code: SecurityDomainCode,
    message: string,
    options?: ErrorOptions & {
      /** With `TooFewShares`: how many more are needed. */
      readonly missing?: number;
    },
  ) {
    super(message, options);
    this.missing = options?.missing;
  }

  readonly missing: number | undefined;
}

/** `1 share is`, `2 shares are`. */
export function counted(count: number, thing: string): string {
  return count === 1 ? `1 ${thing} is` : `${count} ${thing}s are`;
}
