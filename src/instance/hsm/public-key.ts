// What anybody can do with the public half of a key: verify, and encrypt with RSA. OpenSSL does the arithmetic; no
// slot is asked. Node's own verify insists on hashing the message itself, while here only the digest is known, so the
// last step is written out: the encoding methods of RFC 8017 for RSA, and for ECDSA see ecdsa.ts.
import { constants, createHash, createPublicKey, publicEncrypt, type KeyObject } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { equalBytes, toBase64url } from '../../values/bytes.js';
import type { RsaEncryptionAlgorithm, SignatureAlgorithm } from '../../values/key-spec.js';
import type { KeyVersion } from '../model/keys/records.js';
import { verifyEcdsa } from './ecdsa.js';

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
  const part = key.public;
  if (part.kty !== 'RSA') throw new TypeError(`${key.id} is no RSA key`);
  const made = createPublicKey({
    format: 'jwk',
    key: { kty: 'RSA', n: toBase64url(part.n), e: toBase64url(part.e) },
  });
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

/** Does the signature fit the digest? The caller has checked that the algorithm fits the key and the digest. */
export function verifyDigest(
  key: KeyVersion,
  algorithm: SignatureAlgorithm,
  digest: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (key.public.kty === 'EC') return verifyEcdsa(key.public, digest, signature);
  const encoded = recover(rsaKey(key), signature);
  if (encoded === undefined) return false;
  const hash = hashOf(digest.length);
  return algorithm.startsWith('RS')
    ? equalBytes(encoded, pkcs1Encoding(hash, digest, encoded.length))
    : fitsPss(hash, digest, encoded);
}

interface Hash {
  readonly name: 'sha256' | 'sha384' | 'sha512';
  /** DER of DigestInfo up to the digest (RFC 8017 section 9.2, note 1). */
  readonly prefix: Buffer;
}

const hashes: readonly Hash[] = [
  { name: 'sha256', prefix: Buffer.from('3031300d060960864801650304020105000420', 'hex') },
  { name: 'sha384', prefix: Buffer.from('3041300d060960864801650304020205000430', 'hex') },
  { name: 'sha512', prefix: Buffer.from('3051300d060960864801650304020305000440', 'hex') },
];

function hashOf(length: number): Hash {
  const hash = hashes[length / 16 - 2];
  if (!hash) throw new TypeError(`no hash makes ${length} bytes`);
  return hash;
}

/** RSAVP1 (RFC 8017 section 5.2.2): the encoded message inside a signature; undefined if it cannot be one. */
function recover(key: KeyObject, signature: Uint8Array): Buffer | undefined {
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  if (signature.length !== bits / 8) return undefined;
  try {
    return publicEncrypt({ key, padding: constants.RSA_NO_PADDING }, signature);
  } catch {
    return undefined; // not below the modulus
  }
}

/** EMSA-PKCS1-v1_5 (RFC 8017 section 9.2): made anew and compared whole, so no parser can be fooled. */
function pkcs1Encoding(hash: Hash, digest: Uint8Array, length: number): Buffer {
  const info = Buffer.concat([hash.prefix, digest]);
  const encoded = Buffer.alloc(length, 0xff);
  encoded[0] = 0;
  encoded[1] = 1;
  encoded[length - info.length - 1] = 0;
  info.copy(encoded, length - info.length);
  return encoded;
}

/** EMSA-PSS-VERIFY (RFC 8017 section 9.1.2) with a salt as long as the digest (RFC 7518 section 3.5). */
function fitsPss(hash: Hash, digest: Uint8Array, encoded: Buffer): boolean {
  const size = digest.length;
  // The moduli here are multiples of 8 bits, so that the top bit of the encoding, and no more, must be clear.
  const masked = encoded.subarray(0, encoded.length - size - 1);
  const seed = encoded.subarray(masked.length, masked.length + size);
  if (encoded.at(-1) !== 0xbc || ((masked[0] ?? 0x80) & 0x80) !== 0) return false;
  const block = mask(hash, seed, masked.length);
  for (let i = 0; i < block.length; i += 1) block[i] = (block[i] ?? 0) ^ (masked[i] ?? 0);
  block[0] = (block[0] ?? 0) & 0x7f;
  const zeros = block.length - size - 1;
  if (block[zeros] !== 1 || block.subarray(0, zeros).some((byte) => byte !== 0)) return false;
  const salt = block.subarray(zeros + 1);
  const again = createHash(hash.name).update(Buffer.alloc(8)).update(digest).update(salt).digest();
  return equalBytes(seed, again);
}

/** MGF1 (RFC 8017 appendix B.2.1). */
function mask(hash: Hash, seed: Uint8Array, length: number): Buffer {
  const parts: Buffer[] = [];
  const counter = Buffer.alloc(4);
  for (let made = 0, i = 0; made < length; made += parts[i]?.length ?? 0, i += 1) {
    counter.writeUInt32BE(i);
    parts.push(createHash(hash.name).update(seed).update(counter).digest());
  }
  return Buffer.concat(parts, length);
}
