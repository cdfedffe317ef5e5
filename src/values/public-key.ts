// Public keys as Node's OpenSSL takes them.
import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';
import { toBase64url } from './bytes.js';
import type { PublicPart } from './key-spec.js';

/** The key object of an asymmetric public part. Throws for a point that is not on its curve. */
export function publicKeyOf(part: Exclude<PublicPart, { kty: 'oct' }>): KeyObject {
  const jwk: JsonWebKey =
    part.kty === 'RSA'
      ? { kty: 'RSA', n: toBase64url(part.n), e: toBase64url(part.e) }
      : {
          kty: 'EC',
          // RFC 8812 names the curve as OpenSSL does; the service kept the name of a draft.
          crv: part.curve === 'P-256K' ? 'secp256k1' : part.curve,
          x: toBase64url(part.x),
          y: toBase64url(part.y),
        };
  return createPublicKey({ key: jwk, format: 'jwk' });
}
