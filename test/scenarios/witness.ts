// Checks answers of a pool with Node's crypto. Knows the wire format, nothing of the code that it checks.
import { constants, createHash, createPublicKey, publicEncrypt, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { at, text } from './pool.js';

const nodeCurve: Readonly<Record<string, string>> = { 'P-256K': 'secp256k1' };

/** The public key of a JWK as the pool writes it. */
export function publicKeyOf(jwk: unknown): KeyObject {
  switch (text(jwk, 'kty')) {
    case 'RSA-HSM':
      return createPublicKey({ format: 'jwk', key: { kty: 'RSA', n: text(jwk, 'n'), e: text(jwk, 'e') } });
    case 'EC-HSM': {
      const crv = text(jwk, 'crv');
      return createPublicKey({
        format: 'jwk',
        key: { kty: 'EC', crv: nodeCurve[crv] ?? crv, x: text(jwk, 'x'), y: text(jwk, 'y') },
      });
    }
    default:
      throw new Error(`${text(jwk, 'kty')} has no public key`);
  }
}

const hashes: Readonly<Record<string, string>> = { 256: 'sha256', 384: 'sha384', 512: 'sha512' };

/** The hash function that an algorithm's name ends with. */
export function hashOf(algorithm: string): string {
  const hash = hashes[/[0-9]{3}/.exec(algorithm)?.[0] ?? ''];
  if (hash === undefined) throw new Error(`no hash in ${algorithm}`);
  return hash;
}

export function digestOf(algorithm: string, message: Uint8Array): Buffer {
  return createHash(hashOf(algorithm)).update(message).digest();
}

/** Whether a signature over the message's digest is valid. */
export function isSignature(
  algorithm: string,
  key: KeyObject,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  switch (algorithm.slice(0, 2)) {
    case 'RS':
      return verify(hashOf(algorithm), message, key, signature);
    case 'PS':
      return verify(
        hashOf(algorithm),
        message,
        {
          key,
          padding: constants.RSA_PKCS1_PSS_PADDING,
          saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
        },
        signature,
      );
    default:
      return verify(hashOf(algorithm), message, { key, dsaEncoding: 'ieee-p1363' }, signature);
  }
}

/** Padding of an RSA encryption algorithm, as Node names it. */
export function paddingOf(algorithm: string): { padding: number; oaepHash?: string } {
  switch (algorithm) {
    case 'RSA1_5':
      return { padding: constants.RSA_PKCS1_PADDING };
    case 'RSA-OAEP':
      return { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' };
    case 'RSA-OAEP-256':
      return { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' };
    default:
      throw new Error(`${algorithm} is no RSA encryption`);
  }
}

export function encryptFor(algorithm: string, key: KeyObject, plaintext: Uint8Array): Buffer {
  return publicEncrypt({ key, ...paddingOf(algorithm) }, plaintext);
}

export const base64url = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url');
export const bytesAt = (value: unknown, ...path: string[]): Buffer =>
  Buffer.from(text(value, ...path), 'base64url');

/** `error.code` of an error body. */
export const codeOf = (body: unknown): unknown => at(body, 'error', 'code');
