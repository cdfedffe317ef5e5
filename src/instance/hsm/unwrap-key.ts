// Unwrap a key and hand it to the client, in the slot.
import type { Caller } from '../model/rbac/records.js';
import { isRsaEncryption, rsaDecrypt } from './ciphers.js';
import type { Hsm } from './hsm.js';
import { settledRead, usableKey, type KeyUse, type Purpose } from './reading.js';
import { isPadded, requireBlocks } from './wrap-key.js';

export const PURPOSE: Purpose = { action: 'keys/unwrap/action', operation: 'unwrapKey', use: 'wrap' };

export interface UnwrapKey extends KeyUse {
  readonly wrapped: Uint8Array;
}

export interface Unwrapped {
  readonly version: string;
  /** The receiver wipes it. */
  readonly secret: Buffer;
}

/** RFC 7518 sections 4.2 to 4.4, and RFC 5649; what does not open is refused in one form. */
export function unwrapKey(hsm: Hsm, caller: Caller, wish: UnwrapKey): Unwrapped | Promise<Unwrapped> {
  return settledRead(hsm, caller, `key:${wish.name}`, async () => {
    const { key } = usableKey(hsm, caller, PURPOSE, wish);
    const { algorithm, wrapped } = wish;
    if (isRsaEncryption(algorithm)) {
      return { version: key.version, secret: await rsaDecrypt(hsm, key, algorithm, wrapped) };
    }
    const padded = isPadded(algorithm);
    requireBlocks(algorithm, wrapped, padded ? 2 : 3);
    return { version: key.version, secret: await hsm.partition.unwrapAes(key, wrapped, padded) };
  });
}
