// Sign with a private key, or make a MAC with a symmetric one, in the slot.
import type { MacAlgorithm, SignatureAlgorithm } from '../../values/key-spec.js';
import { modulusLength } from './ciphers.js';
import type { Caller } from '../model/rbac/records.js';
import type { KeyVersion } from '../model/keys/records.js';
import type { Hsm } from './hsm.js';
import { refuse, settledRead, usableKey, type KeyUse, type Purpose } from './reading.js';

/** RFC 8017 section 9.2. */
const PKCS1_OVERHEAD = 11;

const PURPOSE: Purpose = { action: 'keys/sign/action', operation: 'sign', use: 'sign' };

export interface Sign extends KeyUse {
  /** For HS* and RSNULL the data itself. */
  readonly digest: Uint8Array;
}

export interface Signed {
  /** The version that signed. */
  readonly version: string;
  /** RSA: as long as the modulus; ECDSA: r and s, each padded (RFC 7518 section 3.4); HMAC: as long as the hash. */
  readonly signature: Buffer;
}

/** RFC 7518 sections 3.2 to 3.5; the digest is the client's. */
export function sign(hsm: Hsm, caller: Caller, wish: Sign): Signed | Promise<Signed> {
  return settledRead(hsm, caller, `key:${wish.name}`, () => {
    const { key, algorithm } = usableKey(hsm, caller, PURPOSE, wish);
    const { version } = key;
    const signature =
      algorithm.digest === undefined
        ? signData(hsm, key, wish)
        : signDigest(hsm, key, wish, algorithm.digest);
    if (Buffer.isBuffer(signature)) return { version, signature };
    return signature.then((made) => ({ version, signature: made }));
  });
}

function signDigest(hsm: Hsm, key: KeyVersion, wish: Sign, length: number): Buffer | Promise<Buffer> {
  checkDigest(wish, length);
  // Known to the model's table of signing algorithms, or usableKey had refused.
  return hsm.partition.sign(key, wish.algorithm as SignatureAlgorithm, wish.digest);
}

function signData(hsm: Hsm, key: KeyVersion, { algorithm, digest }: Sign): Buffer | Promise<Buffer> {
  if (algorithm !== 'RSNULL') return hsm.partition.mac(key, algorithm as MacAlgorithm, digest);
  const longest = modulusLength(key) - PKCS1_OVERHEAD;
  if (digest.length > longest) {
    refuse('BadParameter', `The value is too long for RSNULL with this key: at most ${longest} bytes`);
  }
  return hsm.partition.signRaw(key, digest);
}

/** Refuses a digest that the algorithm's hash cannot have made. */
export function checkDigest(
  { algorithm, digest }: { readonly algorithm: string; readonly digest: Uint8Array },
  length: number,
): void {
  if (digest.length !== length) {
    refuse('BadParameter', `Invalid length of digest for ${algorithm}: ${digest.length}, expected ${length}`);
  }
}
