// Sign a digest with a private key, in the slot.
import type { SignatureAlgorithm } from '../../values/key-spec.js';
import type { Caller } from '../model/rbac/records.js';
import type { Hsm } from './hsm.js';
import { refuse, settledRead, usableKey, type KeyUse, type Purpose } from './reading.js';

const PURPOSE: Purpose = { action: 'keys/sign/action', operation: 'sign', use: 'sign' };

export interface Sign extends KeyUse {
  readonly digest: Uint8Array;
}

export interface Signed {
  /** The version that signed. */
  readonly version: string;
  /** RSA: as long as the modulus; ECDSA: r and s, each padded (RFC 7518 section 3.4). */
  readonly signature: Buffer;
}

/** RFC 7518 sections 3.3 to 3.5; the digest is the client's. */
export function sign(hsm: Hsm, caller: Caller, wish: Sign): Signed | Promise<Signed> {
  return settledRead(hsm, caller, `key:${wish.name}`, () => {
    const { key, algorithm } = usableKey(hsm, caller, PURPOSE, wish);
    checkDigest(wish, algorithm.digest);
    const { version } = key;
    // Known to the model's table of signing algorithms, or usableKey had refused.
    const signature = hsm.partition.sign(key, wish.algorithm as SignatureAlgorithm, wish.digest);
    if (Buffer.isBuffer(signature)) return { version, signature };
    return signature.then((made) => ({ version, signature: made }));
  });
}

/** Refuses a digest that the algorithm's hash cannot have made. */
export function checkDigest(
  { algorithm, digest }: { readonly algorithm: string; readonly digest: Uint8Array },
  length: number | undefined,
): void {
  if (digest.length !== length) {
    refuse(
      'BadParameter',
      `Invalid length of digest for ${algorithm}: ${digest.length}, expected ${length ?? 0}`,
    );
  }
}
