// A key that comes wrapped for an exchange key of the slot (BYOK; PKCS #11 2.40 mechanisms, section 2.1.16): opened
// inside the slot, where nothing of it can be read, and seen to be the kind of key that it is said to be.
import { createECDH, ECDH, publicDecrypt, constants, verify } from 'node:crypto';
import { equalBytes, trimInteger } from '../../values/bytes.js';
import {
  coordinateLength,
  type Curve,
  type KeySpec,
  type PublicPart,
  isRsaSize,
} from '../../values/key-spec.js';
import { publicKeyOf } from '../../values/public-key.js';
import type { Template } from '../pkcs11/attribute.js';
import { CKD, CKG, CKK, CKM, CKO } from '../pkcs11/constants.js';
import type { Mechanism } from '../pkcs11/mechanism.js';
import { PROOF, PROOF_DIGEST } from './key-objects.js';
import type { Worker } from './sessions.js';
import { SlotError } from './slot-error.js';
import { ecParams, isAes, opensslCurve } from './templates.js';

/** What the client says the key is: the size follows from what is found. */
export type WrappedKind =
  | { readonly kty: 'RSA-HSM' }
  | { readonly kty: 'EC-HSM'; readonly curve: Curve }
  | { readonly kty: 'oct-HSM' };

/** CKM_RSA_AES_KEY_WRAP's two halves. */
export interface WrappedKey {
  /** An AES key, encrypted for the exchange key with OAEP and SHA-1. */
  readonly aes: Uint8Array;
  /** PKCS#8, or the bytes of an AES key, wrapped with padding under it. */
  readonly target: Uint8Array;
}

export const OAEP_SHA1: Mechanism = {
  type: CKM.RSA_PKCS_OAEP,
  parameter: { hashAlg: CKM.SHA_1, mgf: CKG.MGF1_SHA1 },
};

/** The AES key of the wrap: it unwraps one key and is gone. */
export const transportKey = {
  class: CKO.SECRET_KEY,
  keyType: CKK.AES,
  token: false,
  private: true,
  sensitive: true,
  extractable: false,
  unwrap: true,
  wrap: false,
  encrypt: false,
  decrypt: false,
  sign: false,
  verify: false,
  derive: false,
} as const satisfies Template;

/** A public value, though it is made as a secret key: the x coordinate of the point. */
const coordinate = {
  class: CKO.SECRET_KEY,
  keyType: CKK.GENERIC_SECRET,
  token: false,
  private: true,
  sensitive: false,
  extractable: true,
} as const satisfies Template;

/** RFC 5649 adds one block of eight octets. */
const WRAP_OVERHEAD = 8;
/** Octets around the integers of a PKCS#8 key, with room for attributes (RFC 5208 section 5). */
const PKCS8_FRAME_MAX = 256;
const EC_PKCS8_MAX = 512;

// RFC 8017 appendix A.1.2: modulus and private exponent, five integers of half their length, and a public exponent.
// Nothing else bounds them: with prime factors of many thousand bits, one signature would hold a worker for minutes.
function rsaPkcs8Max(size: number): number {
  return (size / 8) * 4.5 + PKCS8_FRAME_MAX;
}

/** Can what is wrapped be such a key, by its length? That is known to everybody: no exchange key is asked. */
export function isOfPossibleLength(kind: WrappedKind, wrapped: WrappedKey): boolean {
  const length = wrapped.target.length - WRAP_OVERHEAD;
  switch (kind.kty) {
    case 'RSA-HSM':
      return length <= rsaPkcs8Max(4096);
    case 'EC-HSM':
      return length <= EC_PKCS8_MAX;
    case 'oct-HSM':
      return isAes(expectedSpec(kind, wrapped));
  }
}

/** The specification as far as it is known before the key is open; the size of an RSA key is a guess until then. */
export function expectedSpec(kind: WrappedKind, { target }: WrappedKey): KeySpec {
  switch (kind.kty) {
    case 'RSA-HSM':
      return { kty: 'RSA-HSM', size: 2048, exponent: 65_537 };
    case 'EC-HSM':
      return { kty: 'EC-HSM', curve: kind.curve };
    case 'oct-HSM':
      return { kty: 'oct-HSM', size: (target.length - WRAP_OVERHEAD) * 8 };
  }
}

/** What an open key is, found out by using it. Throws for anything that is not a sound key of the kind. */
export async function examineObject(
  worker: Worker,
  handle: number,
  expected: KeySpec,
  { target }: WrappedKey,
  destroy: (handle: number) => void,
): Promise<{ spec: KeySpec; public?: PublicPart }> {
  switch (expected.kty) {
    case 'RSA-HSM':
      return examineRsa(worker, handle, target.length - WRAP_OVERHEAD);
    case 'EC-HSM':
      return examineEc(worker, handle, expected.curve, destroy);
    case 'oct-HSM':
      // Its check value is made with it: a key of another length than it seems fails there.
      return { spec: expected };
  }
}

async function examineRsa(
  { owner, operations }: Worker,
  handle: number,
  pkcs8Length: number,
): Promise<{ spec: KeySpec; public: PublicPart }> {
  const { modulus, publicExponent } = await owner.getAttributes(handle, ['modulus', 'publicExponent']);
  if (!modulus || !publicExponent) throw unfit('no RSA key');
  const [n, e] = [trimInteger(modulus), trimInteger(publicExponent)];
  const size = n.length * 8;
  const exponent = e.length >= 1 && e.length <= 4 ? e.readUIntBE(0, e.length) : 0;
  if (!isRsaSize(size) || ((n[0] ?? 0) & 0x80) === 0) throw unfit('an RSA modulus of another size');
  if (pkcs8Length > rsaPkcs8Max(size)) throw unfit('RSA parts that are longer than their modulus allows');
  if (exponent < 3 || exponent % 2 === 0)
    throw unfit('an RSA public exponent that is even, below 3 or too long');
  const part = { kty: 'RSA', n, e } as const;
  // Private parts that do not belong to the modulus make signatures that nobody can verify.
  const signature = await operations.sign({ type: CKM.RSA_PKCS }, handle, PROOF);
  const key = { key: publicKeyOf(part), padding: constants.RSA_PKCS1_PADDING };
  if (!equalBytes(publicDecrypt(key, signature), PROOF)) throw unfit('RSA parts that do not belong together');
  return { spec: { kty: 'RSA-HSM', size, exponent }, public: part };
}

// The point of an unwrapped private key cannot be read. A Diffie-Hellman exchange with the base point gives its x
// coordinate; which of the two points with it is the right one, a signature tells.
async function examineEc(
  { owner, operations }: Worker,
  handle: number,
  curve: Curve,
  destroy: (handle: number) => void,
): Promise<{ spec: KeySpec; public: PublicPart }> {
  const { ecParams: parameters } = await owner.getAttributes(handle, ['ecParams']);
  if (!parameters || !equalBytes(parameters, ecParams[curve])) throw unfit('an EC key on another curve');
  const length = coordinateLength[curve];
  const parameter = { kdf: CKD.NULL, publicData: basePointOf(curve) };
  const secret = await owner.deriveKey({ type: CKM.ECDH1_DERIVE, parameter }, handle, {
    ...coordinate,
    valueLen: length,
  });
  let x: Buffer;
  try {
    const { value } = await owner.getAttributes(secret, ['value']);
    if (value?.length !== length) throw unfit('no point');
    x = Buffer.from(value);
  } finally {
    destroy(secret);
  }
  const signature = await operations.sign({ type: CKM.ECDSA }, handle, PROOF_DIGEST);
  for (const sign of [2, 3]) {
    const compressed = Buffer.concat([Buffer.of(sign), x]);
    const point = ECDH.convertKey(
      compressed,
      opensslCurve[curve],
      undefined,
      undefined,
      'uncompressed',
    ) as Buffer;
    const part = { kty: 'EC', curve, x, y: Buffer.from(point.subarray(1 + length)) } as const;
    const key = { key: publicKeyOf(part), dsaEncoding: 'ieee-p1363' } as const;
    if (verify('sha256', PROOF, key, signature)) return { spec: { kty: 'EC-HSM', curve }, public: part };
  }
  throw unfit('an EC key that signs under no point');
}

function basePointOf(curve: Curve): Buffer {
  const one = createECDH(opensslCurve[curve]);
  const scalar = Buffer.alloc(coordinateLength[curve]);
  scalar[scalar.length - 1] = 1;
  one.setPrivateKey(scalar);
  return one.getPublicKey();
}

function unfit(what: string): SlotError {
  return new SlotError('BadWrappedKey', what);
}
