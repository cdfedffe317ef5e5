// An RSA private key as its two primes and exponent, from which all else follows (RFC 8017 section 3.2). The big
// integers in between cannot be overwritten; this runs in a command that ends right after, never in a service.
import { createPrivateKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { assert } from '../values/assert.js';
import { fromBase64url, padInteger, toBase64url, trimInteger } from '../values/bytes.js';
import { SecurityDomainError } from './problem.js';

/** Unsigned big-endian; `p` and `q` are of equal length. */
export interface RsaPrimes {
  readonly p: Buffer;
  readonly q: Buffer;
  readonly e: Buffer;
}

/** The primes of a key; throws `BadKey` for one that is not made of two primes of one size. */
export function primesOf(key: KeyObject): RsaPrimes {
  const jwk = key.asymmetricKeyType === 'rsa' ? key.export({ format: 'jwk' }) : {};
  const [p, q, e] = [jwk.p, jwk.q, jwk.e].map((text) => text && fromBase64url(text));
  if (p instanceof Buffer && q instanceof Buffer && e instanceof Buffer) {
    const primes = { p: trimInteger(p), q: trimInteger(q), e: trimInteger(e) };
    if (primes.p.length === primes.q.length) return primes;
  }
  throw new SecurityDomainError('BadKey', 'only an RSA private key of two primes of one size can be split');
}

/** The key of these primes. */
export function rsaFromPrimes(primes: RsaPrimes): KeyObject {
  const [p, q, e] = [integer(primes.p), integer(primes.q), integer(primes.e)];
  // The smallest private exponent, as OpenSSL makes it for usual keys: the rebuilt file is the old one to the byte.
  const d = inverse(e, ((p - 1n) * (q - 1n)) / greatestCommonDivisor(p - 1n, q - 1n));
  const width = primes.p.length;
  return createPrivateKey({
    format: 'jwk',
    key: {
      kty: 'RSA',
      n: text(p * q, 2 * width),
      e: toBase64url(primes.e),
      d: text(d, 2 * width),
      p: text(p, width),
      q: text(q, width),
      dp: text(d % (p - 1n), width),
      dq: text(d % (q - 1n), width),
      qi: text(inverse(q, p), width),
    },
  });
}

function integer(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
}

function text(value: bigint, width: number): string {
  const bytes = padInteger(Buffer.from(value.toString(16).padStart(2 * width, '0'), 'hex'), width);
  assert(bytes !== undefined, 'a part of an RSA key fits its width');
  return toBase64url(bytes);
}

function greatestCommonDivisor(a: bigint, b: bigint): bigint {
  return b === 0n ? a : greatestCommonDivisor(b, a % b);
}

// Extended Euclid.
function inverse(value: bigint, modulus: bigint): bigint {
  let [low, high] = [value % modulus, modulus];
  let [coefficient, previous] = [1n, 0n];
  while (low > 1n) {
    const quotient = high / low;
    [low, high] = [high % low, low];
    [coefficient, previous] = [previous - quotient * coefficient, coefficient];
  }
  return ((coefficient % modulus) + modulus) % modulus;
}
