// What needs only the public half of an RSA key: Node's OpenSSL does it and no slot is asked.
import { constants, publicDecrypt, publicEncrypt, type KeyObject } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { RsaEncryptionAlgorithm } from '../../values/key-spec.js';
import { publicKeyOf } from '../../values/public-key.js';
import type { KeyVersion } from '../model/keys/records.js';

// Keyed by version id: 128 random bits, so a name that is purged and made again never meets its old key. A purged
// version's entry is not found again and leaves by age or in its turn.
const keys = new LRUCache<string, KeyObject>({
  max: 2_000,
  ttl: 3_600_000,
  ttlResolution: 1_000,
});

function rsaKey(key: KeyVersion): KeyObject {
  const cached = keys.get(key.id);
  if (cached) return cached;
  if (key.public.kty !== 'RSA') throw new TypeError(`${key.id} is no RSA key`);
  const made = publicKeyOf(key.public);
  keys.set(key.id, made);
  return made;
}

/** RSA encryption; the caller has checked the length of the plaintext. */
export function encryptFor(
  key: KeyVersion,
  algorithm: RsaEncryptionAlgorithm,
  plaintext: Uint8Array,
): Buffer {
  const object = rsaKey(key);
  switch (algorithm) {
    case 'RSA1_5':
      return publicEncrypt({ key: object, padding: constants.RSA_PKCS1_PADDING }, plaintext);
    case 'RSA-OAEP':
      return publicEncrypt(
        { key: object, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' },
        plaintext,
      );
    case 'RSA-OAEP-256':
      return publicEncrypt(
        { key: object, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' },
        plaintext,
      );
  }
}

/** What was signed, as a PKCS #1 v1.5 signature holds it; undefined for whatever is no such signature. */
export function signedData(key: KeyVersion, signature: Uint8Array): Buffer | undefined {
  try {
    return publicDecrypt({ key: rsaKey(key), padding: constants.RSA_PKCS1_PADDING }, signature);
  } catch {
    return undefined;
  }
}
