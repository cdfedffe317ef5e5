// Wrapping a key for the enclave that it is released to: the construction of PKCS#11's CKM_RSA_AES_KEY_WRAP. A fresh
// AES-256 key goes under the enclave's RSA key by OAEP, and the key itself under that AES key by key wrap with padding
// (RFC 5649). Both are OpenSSL's, since the target is a public key and the result is for outside.
import { constants, createCipheriv, publicEncrypt, randomBytes, type KeyObject } from 'node:crypto';
import { assert } from '../../values/assert.js';
import { wipe } from '../../values/bytes.js';
import { refuse } from './reading.js';

/**
 * Hash of OAEP and of its MGF1, by the service's names. The first is SHA-1 by PKCS#11's default; that the names with a
 * number mean SHA-2 of that size is not documented.
 */
const hashOf = {
  CKM_RSA_AES_KEY_WRAP: 'sha1',
  RSA_AES_KEY_WRAP_256: 'sha256',
  RSA_AES_KEY_WRAP_384: 'sha384',
} as const;

export type TargetWrap = keyof typeof hashOf;

const AES_BYTES = 32;
/** RFC 5649 section 3: the constant half of the alternative initial value; OpenSSL adds the length. */
const ALTERNATIVE_IV = Buffer.of(0xa6, 0x59, 0x59, 0xa6);

/** The wrap that a client names in `enc`; the first of them when it names none. */
export function targetWrapNamed(enc: string | undefined): TargetWrap {
  if (enc === undefined) return 'CKM_RSA_AES_KEY_WRAP';
  return isTargetWrap(enc) ? enc : refuse('BadParameter', `Unknown key encryption algorithm: '${enc}'`);
}

function isTargetWrap(enc: string): enc is TargetWrap {
  return Object.hasOwn(hashOf, enc);
}

/**
 * The wrapped AES key, as long as the modulus, and then the wrapped key. `plaintext` is PKCS#8 DER, or the bytes of a
 * symmetric key; its owner wipes it.
 */
export function wrapForTarget(enc: TargetWrap, target: KeyObject, plaintext: Uint8Array): Buffer {
  assert(plaintext.length > 0, 'there is a key to wrap');
  const ephemeral = randomBytes(AES_BYTES);
  try {
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    const wrappedKey = publicEncrypt({ key: target, padding, oaepHash: hashOf[enc] }, ephemeral);
    const cipher = createCipheriv('id-aes256-wrap-pad', ephemeral, ALTERNATIVE_IV);
    return Buffer.concat([wrappedKey, cipher.update(plaintext), cipher.final()]);
  } finally {
    wipe(ephemeral);
  }
}
