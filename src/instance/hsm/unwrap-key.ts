// Unwrap a key and hand it to the client, in the slot.
import type { Caller } from '../model/rbac/records.js';
import { isRsaEncryption, rsaDecrypt } from './ciphers.js';
import type { Hsm } from './hsm.js';
import { refuse, settledRead, usableKey, type KeyUse, type Purpose } from './reading.js';
import { WRAP_BLOCK } from './wrap-key.js';

const PURPOSE: Purpose = { action: 'keys/unwrap/action', operation: 'unwrapKey', use: 'wrap' };

export interface UnwrapKey extends KeyUse {
  readonly wrapped: Uint8Array;
}

export interface Unwrapped {
  readonly version: string;
  /** The receiver wipes it. */
  readonly secret: Buffer;
}

/** RFC 7518 sections 4.2 to 4.4; what does not open is refused in one form. */
export function unwrapKey(hsm: Hsm, caller: Caller, wish: UnwrapKey): Unwrapped | Promise<Unwrapped> {
  return settledRead(hsm, caller, `key:${wish.name}`, async () => {
    const { key } = usableKey(hsm, caller, PURPOSE, wish);
    const { algorithm, wrapped } = wish;
    if (isRsaEncryption(algorithm)) {
      return { version: key.version, secret: await rsaDecrypt(hsm, key, algorithm, wrapped) };
    }
    if (wrapped.length < 3 * WRAP_BLOCK || wrapped.length % WRAP_BLOCK !== 0) {
      refuse(
        'BadParameter',
        `The value must be at least ${3 * WRAP_BLOCK} bytes and a multiple of ${WRAP_BLOCK} for ${algorithm}`,
      );
    }
    return { version: key.version, secret: await hsm.partition.unwrapAes(key, wrapped) };
  });
}
