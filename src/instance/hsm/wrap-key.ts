// Wrap a key that the client brings: with the public part for RSA, in the slot for AES (RFC 3394).
import type { Caller } from '../model/rbac/records.js';
import { isRsaEncryption, rsaEncrypt } from './ciphers.js';
import type { Hsm } from './hsm.js';
import { refuse, settledRead, usableKey, type KeyUse, type Purpose } from './reading.js';

const PURPOSE: Purpose = { action: 'keys/wrap/action', operation: 'wrapKey', use: 'wrap' };

/** RFC 3394 works on 64-bit blocks, at least two of them. */
export const WRAP_BLOCK = 8;

export interface WrapKey extends KeyUse {
  readonly secret: Uint8Array;
}

export interface Wrapped {
  readonly version: string;
  readonly wrapped: Buffer;
}

/** RFC 7518 sections 4.2 to 4.4. */
export function wrapKey(hsm: Hsm, caller: Caller, wish: WrapKey): Wrapped | Promise<Wrapped> {
  return settledRead(hsm, caller, `key:${wish.name}`, () => {
    const { key } = usableKey(hsm, caller, PURPOSE, wish);
    const { version } = key;
    const { algorithm, secret } = wish;
    if (isRsaEncryption(algorithm)) return { version, wrapped: rsaEncrypt(key, algorithm, secret) };
    if (secret.length < 2 * WRAP_BLOCK || secret.length % WRAP_BLOCK !== 0) {
      refuse(
        'BadParameter',
        `The value must be at least ${2 * WRAP_BLOCK} bytes and a multiple of ${WRAP_BLOCK} for ${algorithm}`,
      );
    }
    return hsm.partition.wrapAes(key, secret).then((wrapped) => ({ version, wrapped }));
  });
}
