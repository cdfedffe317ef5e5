// Decrypt, in the slot.
import type { Caller } from '../model/rbac/records.js';
import type { KeyVersion } from '../model/keys/records.js';
import { isRsaEncryption, refuseExtra, requireLength, rsaDecrypt } from './ciphers.js';
import { BLOCK } from './encrypt.js';
import type { Hsm } from './hsm.js';
import { refuse, settledRead, usableKey, type KeyUse, type Purpose } from './reading.js';

const PURPOSE: Purpose = { action: 'keys/decrypt/action', operation: 'decrypt', use: 'encrypt' };
const GCM_IV = 12;
const GCM_TAG = 16;

export interface Decrypt extends KeyUse {
  readonly ciphertext: Uint8Array;
  readonly iv?: Uint8Array | undefined;
  readonly aad?: Uint8Array | undefined;
  readonly tag?: Uint8Array | undefined;
}

export interface Decrypted {
  readonly version: string;
  /** The receiver wipes it. */
  readonly plaintext: Buffer;
}

/** A ciphertext that does not open is refused in one form, whatever is wrong with it. */
export function decrypt(hsm: Hsm, caller: Caller, wish: Decrypt): Decrypted | Promise<Decrypted> {
  return settledRead(hsm, caller, `key:${wish.name}`, async () => {
    const { key } = usableKey(hsm, caller, PURPOSE, wish);
    return { version: key.version, plaintext: await open(hsm, key, wish) };
  });
}

function open(hsm: Hsm, key: KeyVersion, wish: Decrypt): Buffer | Promise<Buffer> {
  const { algorithm, ciphertext, iv, aad, tag } = wish;
  if (isRsaEncryption(algorithm)) {
    refuseExtra(algorithm, { iv, aad, tag });
    return rsaDecrypt(hsm, key, algorithm, ciphertext);
  }
  if (algorithm.endsWith('GCM')) {
    const nonce = requireLength('iv', iv, GCM_IV);
    return hsm.partition.decryptAesGcm(key, ciphertext, nonce, requireLength('tag', tag, GCM_TAG), aad);
  }
  refuseExtra(algorithm, { aad, tag });
  if (ciphertext.length % BLOCK !== 0) {
    refuse('BadParameter', `The value must be a multiple of ${BLOCK} bytes for ${algorithm}`);
  }
  const padded = algorithm.endsWith('PAD');
  return hsm.partition.decryptAesCbc(key, padded, requireLength('iv', iv, BLOCK), ciphertext);
}
