// What encrypt and wrap, and decrypt and unwrap, have in common: the RSA algorithms and the checks on lengths.
import type { RsaEncryptionAlgorithm } from '../../values/key-spec.js';
import type { KeyVersion } from '../model/keys/records.js';
import type { Hsm } from './hsm.js';
import { encryptFor } from './public-key.js';
import { refuse } from './reading.js';

/** The one answer to every ciphertext that does not open, so that none can be told from another. */
export const UNREADABLE = 'The value could not be decrypted with this key and these parameters';

/** RSA names serve encrypt and wrap alike (RFC 7518 sections 4.2 and 4.3). */
export function isRsaEncryption(algorithm: string): algorithm is RsaEncryptionAlgorithm {
  return algorithm === 'RSA-OAEP-256' || algorithm === 'RSA-OAEP' || algorithm === 'RSA1_5';
}

/** Encrypts with the public part, after a look at the length (RFC 8017 sections 7.1.1 and 7.2.1). */
export function rsaEncrypt(
  key: KeyVersion,
  algorithm: RsaEncryptionAlgorithm,
  plaintext: Uint8Array,
): Buffer {
  const overhead = { 'RSA-OAEP-256': 66, 'RSA-OAEP': 42, RSA1_5: 11 }[algorithm];
  const longest = modulusLength(key) - overhead;
  if (plaintext.length > longest) {
    refuse('BadParameter', `The value is too long for ${algorithm} with this key: at most ${longest} bytes`);
  }
  return encryptFor(key, algorithm, plaintext);
}

/** Decrypts in the slot. */
export function rsaDecrypt(
  hsm: Hsm,
  key: KeyVersion,
  algorithm: RsaEncryptionAlgorithm,
  ciphertext: Uint8Array,
): Promise<Buffer> {
  if (ciphertext.length !== modulusLength(key)) refuse('BadParameter', UNREADABLE);
  return hsm.partition.decryptRsa(key, algorithm, ciphertext);
}

/** Of an RSA key, in octets. */
export function modulusLength({ spec }: KeyVersion): number {
  return spec.kty === 'RSA-HSM' ? spec.size / 8 : 0;
}

/** Refuses members that the algorithm has no place for: ignoring one would promise a protection it does not give. */
export function refuseExtra(algorithm: string, extra: Readonly<Record<string, unknown>>): void {
  for (const [member, value] of Object.entries(extra)) {
    if (value !== undefined) refuse('BadParameter', `'${member}' cannot be used with ${algorithm}`);
  }
}

/** Refuses a value of another length. */
export function requireLength(member: string, bytes: Uint8Array | undefined, length: number): Uint8Array {
  if (bytes?.length !== length) return refuse('BadParameter', `'${member}' must be ${length} bytes`);
  return bytes;
}
