// Private RSA keys that a collection gives in part, brought to the full set of parameters that a JWK needs.
import type { Jwk } from './known-answers.js';

const number = (text: string | undefined) =>
  BigInt(`0x${Buffer.from(text ?? '', 'base64url').toString('hex') || '0'}`);

function text(value: bigint): string {
  const hex = value.toString(16);
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex').toString('base64url');
}

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  let square = base % modulus;
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * square) % modulus;
    square = (square * square) % modulus;
  }
  return result;
}

function gcd(a: bigint, b: bigint): bigint {
  return b === 0n ? a : gcd(b, a % b);
}

/** The inverse by the extended Euclidean algorithm. */
function inverse(value: bigint, modulus: bigint): bigint {
  let [r, nextR, s, nextS] = [modulus, value % modulus, 0n, 1n];
  while (nextR !== 0n) {
    const quotient = r / nextR;
    [r, nextR, s, nextS] = [nextR, r - quotient * nextR, nextS, s - quotient * nextS];
  }
  return ((s % modulus) + modulus) % modulus;
}

/**
 * The prime factors of n (NIST SP 800-56B Rev. 2 appendix C.1), with small bases in place of random ones.
 * @throws when d does not belong to n and e.
 */
function factorsOf(n: bigint, e: bigint, d: bigint): [bigint, bigint] {
  let odd = d * e - 1n;
  let halvings = 0;
  for (; (odd & 1n) === 0n; halvings += 1) odd >>= 1n;
  for (let base = 2n; base < 100n; base += 1n) {
    let root = power(base, odd, n);
    if (root === 1n || root === n - 1n) continue;
    for (let step = 1; step <= halvings; step += 1) {
      const square = (root * root) % n;
      if (square === 1n) {
        const p = gcd(root - 1n, n);
        return [p, n / p];
      }
      if (square === n - 1n) break;
      root = square;
    }
  }
  throw new Error('d does not belong to n and e');
}

/** The key with p, q, dp, dq and qi; any other key as it is. */
export function completed(key: Jwk): Jwk {
  if (key['kty'] !== 'RSA' || key['d'] === undefined || key['qi'] !== undefined) return key;
  const [n, e, d] = [number(key['n']), number(key['e']), number(key['d'])];
  const [p, q] =
    key['p'] === undefined ? factorsOf(n, e, d) : ([number(key['p']), number(key['q'])] as const);
  const parts = { p, q, dp: d % (p - 1n), dq: d % (q - 1n), qi: inverse(q, p) };
  return { ...key, ...Object.fromEntries(Object.entries(parts).map(([name, part]) => [name, text(part)])) };
}
