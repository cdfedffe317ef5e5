// How many custodians there are, and how many of them it takes.
import { SecurityDomainError } from './problem.js';

export const CUSTODIANS_MIN = 3;
export const CUSTODIANS_MAX = 10;
const REQUIRED_MIN = 2;

/** `required` of `total` custodians; cannot hold numbers that the service would refuse. */
export class Quorum {
  private constructor(
    readonly required: number,
    readonly total: number,
  ) {}

  /** Throws `BadCertificates` for anything but 3 to 10 custodians and a quorum of 2 to all of them. */
  static of(required: number, total: number): Quorum {
    if (!Number.isInteger(total) || total < CUSTODIANS_MIN || total > CUSTODIANS_MAX) {
      throw new SecurityDomainError(
        'BadCertificates',
        `${total} certificates were given; a security domain has ${CUSTODIANS_MIN} to ${CUSTODIANS_MAX}`,
      );
    }
    if (!Number.isInteger(required) || required < REQUIRED_MIN || required > total) {
      throw new SecurityDomainError(
        'BadCertificates',
        `a quorum of ${required} cannot be had from ${total} certificates; it is ${REQUIRED_MIN} to ${total}`,
      );
    }
    return new Quorum(required, total);
  }
}
