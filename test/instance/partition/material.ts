// Clear keys to import, made by Node's crypto, and the same keys as Node knows them.
import { generateKeyPairSync, type JsonWebKey, type KeyObject } from 'node:crypto';
import type { Curve, KeyMaterial } from '../../../src/values/key-spec.js';

export type RsaMaterial = Extract<KeyMaterial, { kty: 'RSA' }>;
export type EcMaterial = Extract<KeyMaterial, { kty: 'EC' }>;

export const opensslCurve: Record<Curve, string> = {
  'P-256': 'prime256v1',
  'P-256K': 'secp256k1',
  'P-384': 'secp384r1',
  'P-521': 'secp521r1',
};

function bytes(member: string | undefined): Buffer {
  if (member === undefined) throw new Error('a member is missing');
  return Buffer.from(member, 'base64url');
}

export function rsaMaterial(
  modulusLength = 2048,
  publicExponent = 65_537,
): { material: RsaMaterial; publicKey: KeyObject } {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength, publicExponent });
  return { material: rsaMaterialOf(privateKey.export({ format: 'jwk' })), publicKey };
}

export function rsaMaterialOf({ n, e, d, p, q, dp, dq, qi }: JsonWebKey): RsaMaterial {
  return {
    kty: 'RSA',
    n: bytes(n),
    e: bytes(e),
    d: bytes(d),
    p: bytes(p),
    q: bytes(q),
    dp: bytes(dp),
    dq: bytes(dq),
    qi: bytes(qi),
  };
}

export function ecMaterial(curve: Curve): { material: EcMaterial; publicKey: KeyObject } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: opensslCurve[curve] });
  const { x, y, d } = privateKey.export({ format: 'jwk' });
  return { material: { kty: 'EC', curve, x: bytes(x), y: bytes(y), d: bytes(d) }, publicKey };
}

export function toInteger(octets: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(octets).toString('hex')}`);
}

export function toOctets(integer: bigint): Buffer {
  const hex = integer.toString(16);
  return Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex');
}
