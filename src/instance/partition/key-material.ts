// Key material on its way in: is it a key at all? A slot takes many inconsistent keys without a word and fails, or
// leaks, only at use. Knows no slot.
import { checkPrime, createECDH } from 'node:crypto';
import { promisify } from 'node:util';
import { equalBytes, padInteger, trimInteger, wipe } from '../../values/bytes.js';
import {
  aesSizes,
  coordinateLength,
  isRsaSize,
  type KeyMaterial,
  type KeySpec,
} from '../../values/key-spec.js';
import { SlotError } from './slot-error.js';
import { opensslCurve } from './templates.js';

const isPrime = promisify(checkPrime);
/** A shorter key serves neither AES nor the shortest HMAC (RFC 7518 section 3.2). */
const MAC_KEY_BITS_MIN = 256;
/** Bytes. HMAC fills shorter keys with zeros up to its block (RFC 2104 section 2), so that filling changes no MAC. */
const MAC_KEY_MAX = 64;
type RsaMaterial = Extract<KeyMaterial, { kty: 'RSA' }>;
type EcMaterial = Extract<KeyMaterial, { kty: 'EC' }>;

/**
 * The specification of the key, with integers brought to their canonical length: copies, for the caller to wipe.
 * @throws SlotError `BadKeyMaterial`, saying which rule is broken.
 */
export async function examine(material: KeyMaterial): Promise<{ spec: KeySpec; material: KeyMaterial }> {
  switch (material.kty) {
    case 'RSA':
      return examineRsa(material);
    case 'EC':
      return examineEc(material);
    case 'oct': {
      const { k } = material;
      const size = k.length * 8;
      const spec: KeySpec = { kty: 'oct-HSM', size };
      if (aesSizes.includes(size)) return { spec, material };
      if (size < MAC_KEY_BITS_MIN || k.length > MAC_KEY_MAX)
        throw bad(
          `a symmetric key of ${size} bits; AES keys have 128, 192 or 256, HMAC keys at most ${MAC_KEY_MAX * 8}`,
        );
      // SoftHSM wraps no length that is not a multiple of 8 as it is.
      const filled = Buffer.alloc(MAC_KEY_MAX);
      filled.set(k);
      return { spec, material: { kty: 'oct', k: filled } };
    }
  }
}

async function examineRsa(material: RsaMaterial): Promise<{ spec: KeySpec; material: KeyMaterial }> {
  const trimmed: RsaMaterial = {
    kty: 'RSA',
    n: trimInteger(material.n),
    e: trimInteger(material.e),
    d: trimInteger(material.d),
    p: trimInteger(material.p),
    q: trimInteger(material.q),
    dp: trimInteger(material.dp),
    dq: trimInteger(material.dq),
    qi: trimInteger(material.qi),
  };
  const size = trimmed.n.length * 8;
  if (!isRsaSize(size) || ((trimmed.n[0] ?? 0) & 0x80) === 0)
    throw bad('an RSA modulus of other than 2048, 3072 or 4096 bits');
  const longest = size / 8;
  for (const part of [trimmed.d, trimmed.p, trimmed.q, trimmed.dp, trimmed.dq, trimmed.qi]) {
    if (part.length > longest) throw bad('an RSA parameter longer than the modulus');
  }
  const exponent = trimmed.e.length <= 4 ? Number(toInteger(trimmed.e)) : 0;
  if (exponent < 3 || exponent % 2 === 0)
    throw bad('an RSA public exponent that is even, below 3 or above 32 bits');
  try {
    await checkRsa(trimmed, exponent);
  } catch (error) {
    wipeMaterial(trimmed);
    throw error;
  }
  return { spec: { kty: 'RSA-HSM', size, exponent }, material: trimmed };
}

// RFC 8017 section 3.2: how the parts of a private key belong together.
async function checkRsa(material: RsaMaterial, exponent: number): Promise<void> {
  const [n, d, p, q] = [material.n, material.d, material.p, material.q].map(toInteger) as [
    bigint,
    bigint,
    bigint,
    bigint,
  ];
  const [dp, dq, qi] = [material.dp, material.dq, material.qi].map(toInteger) as [bigint, bigint, bigint];
  const e = BigInt(exponent);
  // A factor of one would have no order to divide by.
  if (p === 1n || q === 1n || p === q || p * q !== n) throw bad('p times q is not the RSA modulus');
  const [pOrder, qOrder] = [p - 1n, q - 1n];
  const consistent =
    (d * e) % pOrder === 1n &&
    (d * e) % qOrder === 1n &&
    d % pOrder === dp &&
    d % qOrder === dq &&
    d < n &&
    qi < p &&
    (qi * q) % p === 1n;
  if (!consistent) throw bad('RSA private parameters that do not belong together');
  const factors = [Buffer.from(material.p), Buffer.from(material.q)];
  const prime = await Promise.all(factors.map((factor) => isPrime(factor)));
  wipe(...factors);
  if (prime.includes(false)) throw bad('an RSA factor that is not prime');
}

function examineEc(material: EcMaterial): { spec: KeySpec; material: KeyMaterial } {
  const { curve } = material;
  const length = coordinateLength[curve];
  const [x, y, d] = [material.x, material.y, material.d].map((part) => padInteger(part, length));
  if (!x || !y || !d) throw bad(`a coordinate or private value too long for ${curve}`);
  const pair = createECDH(opensslCurve[curve]);
  try {
    pair.setPrivateKey(d);
  } catch (error) {
    throw new SlotError('BadKeyMaterial', `a private value outside the order of ${curve}`, error);
  }
  // The point follows from the private value: what equals it is on the curve and in the right group.
  if (!equalBytes(pair.getPublicKey(), Buffer.concat([Buffer.of(4), x, y]))) {
    throw bad('a public point that does not belong to the private value');
  }
  return { spec: { kty: 'EC-HSM', curve }, material: { kty: 'EC', curve, x, y, d } };
}

// What is left of it, the text and the number, nobody can wipe.
function toInteger({ buffer, byteOffset, byteLength }: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(buffer, byteOffset, byteLength).toString('hex') || '0'}`);
}

/** Overwrites what is secret in it. */
export function wipeMaterial(material: KeyMaterial): void {
  switch (material.kty) {
    case 'RSA':
      wipe(material.d, material.p, material.q, material.dp, material.dq, material.qi);
      break;
    case 'EC':
      wipe(material.d);
      break;
    case 'oct':
      wipe(material.k);
      break;
  }
}

function bad(what: string): SlotError {
  return new SlotError('BadKeyMaterial', what);
}
