// Verify a signature on a digest, with the stored public part.
import type { SignatureAlgorithm } from '../../values/key-spec.js';
import type { Caller } from '../model/rbac/records.js';
import type { Hsm } from './hsm.js';
import { settledRead, usableKey, type KeyUse, type Purpose } from './reading.js';
import { checkDigest } from './sign.js';

const PURPOSE: Purpose = { action: 'keys/verify/action', operation: 'verify', use: 'sign' };

export interface Verify extends KeyUse {
  readonly digest: Uint8Array;
  readonly signature: Uint8Array;
}

export interface Verified {
  readonly version: string;
  /** False also for a signature of impossible form. */
  readonly valid: boolean;
}

/** RFC 7518 sections 3.3 to 3.5. */
export function verify(hsm: Hsm, caller: Caller, wish: Verify): Verified | Promise<Verified> {
  return settledRead(hsm, caller, `key:${wish.name}`, () => {
    const { key, algorithm } = usableKey(hsm, caller, PURPOSE, wish);
    checkDigest(wish, algorithm.digest);
    const { version } = key;
    const name = wish.algorithm as SignatureAlgorithm;
    const valid = hsm.partition.verify(key, name, wish.digest, wish.signature);
    return typeof valid === 'boolean'
      ? { version, valid }
      : valid.then((known) => ({ version, valid: known }));
  });
}
