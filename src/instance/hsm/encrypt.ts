// Encrypt: with the public part for RSA, in the slot for AES.
import { randomBytes } from 'node:crypto';
import type { KeyVersion } from '../model/keys/records.js';
import type { Caller } from '../model/rbac/records.js';
import { isRsaEncryption, refuseExtra, requireLength, rsaEncrypt } from './ciphers.js';
import type { Hsm } from './hsm.js';
import { refuse, settledRead, usableKey, type KeyUse, type Purpose } from './reading.js';

const PURPOSE: Purpose = { action: 'keys/encrypt/action', operation: 'encrypt', use: 'encrypt' };

export const BLOCK = 16;

export interface Encrypt extends KeyUse {
  readonly plaintext: Uint8Array;
  readonly iv?: Uint8Array | undefined;
  readonly aad?: Uint8Array | undefined;
  readonly tag?: Uint8Array | undefined;
}

export interface Encrypted {
  readonly version: string;
  readonly ciphertext: Uint8Array;
  /** AES only. */
  readonly iv?: Uint8Array;
  /** GCM only, 16 bytes. */
  readonly tag?: Uint8Array;
  /** As it came. */
  readonly aad?: Uint8Array;
}

/** RSA (RFC 8017 section 7), AES-GCM (NIST SP 800-38D) or AES-CBC (NIST SP 800-38A). */
export function encrypt(hsm: Hsm, caller: Caller, wish: Encrypt): Encrypted | Promise<Encrypted> {
  return settledRead(hsm, caller, `key:${wish.name}`, () => {
    const { key } = usableKey(hsm, caller, PURPOSE, wish);
    const { algorithm, plaintext, iv, aad, tag } = wish;
    if (isRsaEncryption(algorithm)) {
      refuseExtra(algorithm, { iv, aad, tag });
      return { version: key.version, ciphertext: rsaEncrypt(key, algorithm, plaintext) };
    }
    return algorithm.endsWith('GCM') ? encryptGcm(hsm, key, wish) : encryptCbc(hsm, key, wish);
  });
}

/** A repeated GCM nonce gives the key away, so the slot alone makes them (NIST SP 800-38D section 8.2.2). */
async function encryptGcm(hsm: Hsm, key: KeyVersion, wish: Encrypt): Promise<Encrypted> {
  const { algorithm, plaintext, iv, aad, tag } = wish;
  if (iv !== undefined)
    refuse('BadParameter', `'iv' is made by the service for ${algorithm} and cannot be given`);
  refuseExtra(algorithm, { tag });
  const made = await hsm.partition.encryptAesGcm(key, plaintext, aad);
  return { version: key.version, ...made, ...(aad === undefined ? {} : { aad }) };
}

async function encryptCbc(hsm: Hsm, key: KeyVersion, wish: Encrypt): Promise<Encrypted> {
  const { algorithm, plaintext, aad, tag } = wish;
  refuseExtra(algorithm, { aad, tag });
  const padded = algorithm.endsWith('PAD');
  if (!padded && plaintext.length % BLOCK !== 0) {
    refuse('BadParameter', `The value must be a multiple of ${BLOCK} bytes for ${algorithm}`);
  }
  // The JavaScript client means to send one and does not (a fault of its own), so it is made here.
  const iv = wish.iv === undefined ? randomBytes(BLOCK) : requireLength('iv', wish.iv, BLOCK);
  const ciphertext = await hsm.partition.encryptAesCbc(key, padded, iv, plaintext);
  return { version: key.version, ciphertext, iv };
}
