// Wrap a key that the client brings: with the public part for RSA, in the slot for AES.
import type { Caller } from '../model/rbac/records.js';
import { isRsaEncryption, rsaEncrypt } from './ciphers.js';
import type { Hsm } from './hsm.js';
import { refuse, settledRead, usableKey, type KeyUse, type Purpose } from './reading.js';

const PURPOSE: Purpose = { action: 'keys/wrap/action', operation: 'wrapKey', use: 'wrap' };

/** RFC 3394 works on 64-bit blocks, at least two of them. */
const WRAP_BLOCK = 8;
/** What is wrapped with padding (RFC 5649) is a key, and no key is longer than that. */
const PADDED_MAX = 4096;

export interface WrapKey extends KeyUse {
  readonly secret: Uint8Array;
}

export interface Wrapped {
  readonly version: string;
  readonly wrapped: Buffer;
}

/** RFC 7518 sections 4.2 to 4.4, and RFC 5649 for what is padded. */
export function wrapKey(hsm: Hsm, caller: Caller, wish: WrapKey): Wrapped | Promise<Wrapped> {
  return settledRead(hsm, caller, `key:${wish.name}`, () => {
    const { key } = usableKey(hsm, caller, PURPOSE, wish);
    const { version } = key;
    const { algorithm, secret } = wish;
    if (isRsaEncryption(algorithm)) return { version, wrapped: rsaEncrypt(key, algorithm, secret) };
    const padded = isPadded(algorithm);
    if (padded) {
      if (secret.length > PADDED_MAX) {
        refuse('BadParameter', `The value must be at most ${PADDED_MAX} bytes for ${algorithm}`);
      }
    } else {
      requireBlocks(algorithm, secret, 2);
    }
    return hsm.partition.wrapAes(key, secret, padded).then((wrapped) => ({ version, wrapped }));
  });
}

/** Is it key wrap with padding? */
export function isPadded(algorithm: string): boolean {
  return algorithm.endsWith('PAD');
}

/** Refuses what is not whole blocks, and so many of them at least. */
export function requireBlocks(algorithm: string, value: Uint8Array, blocksMin: number): void {
  if (value.length >= blocksMin * WRAP_BLOCK && value.length % WRAP_BLOCK === 0) return;
  refuse(
    'BadParameter',
    `The value must be at least ${blocksMin * WRAP_BLOCK} bytes and a multiple of ${WRAP_BLOCK} for ${algorithm}`,
  );
}
