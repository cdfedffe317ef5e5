// Verify a signature on a digest, with the stored public part; or a MAC, by making it again in the slot.
import { equalBytes } from '../../values/bytes.js';
import type { MacAlgorithm, SignatureAlgorithm } from '../../values/key-spec.js';
import type { KeyVersion } from '../model/keys/records.js';
import { signedData } from './public-key.js';
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

/** RFC 7518 sections 3.2 to 3.5. */
export function verify(hsm: Hsm, caller: Caller, wish: Verify): Verified | Promise<Verified> {
  return settledRead(hsm, caller, `key:${wish.name}`, () => {
    const { key, algorithm } = usableKey(hsm, caller, PURPOSE, wish);
    const { version } = key;
    const valid =
      algorithm.digest === undefined
        ? verifyData(hsm, key, wish)
        : verifyDigest(hsm, key, wish, algorithm.digest);
    return typeof valid === 'boolean'
      ? { version, valid }
      : valid.then((known) => ({ version, valid: known }));
  });
}

function verifyDigest(hsm: Hsm, key: KeyVersion, wish: Verify, length: number): boolean | Promise<boolean> {
  checkDigest(wish, length);
  return hsm.partition.verify(key, wish.algorithm as SignatureAlgorithm, wish.digest, wish.signature);
}

function verifyData(
  hsm: Hsm,
  key: KeyVersion,
  { algorithm, digest, signature }: Verify,
): boolean | Promise<boolean> {
  if (algorithm === 'RSNULL') {
    const signed = signedData(key, signature);
    return signed !== undefined && equalBytes(signed, digest);
  }
  const made = hsm.partition.mac(key, algorithm as MacAlgorithm, digest);
  if (Buffer.isBuffer(made)) return equalBytes(made, signature);
  return made.then((mac) => equalBytes(mac, signature));
}
