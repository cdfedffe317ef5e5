// Keys made by Node, to be imported, and what Node does with them: the other half of every cryptographic operation.
import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  privateDecrypt,
  sign,
  constants,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto';
import { base64url, hashOf, paddingOf } from '../scenarios/witness.js';

export type Spec =
  | { readonly kty: 'RSA'; readonly size: number; readonly exponent?: number }
  | { readonly kty: 'EC'; readonly curve: string }
  | { readonly kty: 'oct'; readonly size: number };

/** A key whose every part is known here. */
export interface Material {
  readonly spec: Spec;
  /** As an import takes it. */
  readonly jwk: Readonly<Record<string, string>>;
  readonly privateKey?: KeyObject;
  readonly secret?: Buffer;
}

const NODE_CURVES: Readonly<Record<string, string>> = {
  'P-256': 'prime256v1',
  'P-256K': 'secp256k1',
  'P-384': 'secp384r1',
  'P-521': 'secp521r1',
};
export const CURVES = Object.keys(NODE_CURVES);

/** Octets of a coordinate. */
export const coordinateOf = (curve: string): number =>
  ({ 'P-256': 32, 'P-256K': 32, 'P-384': 48, 'P-521': 66 })[curve] ?? 0;

/** Keys of every type and size: few, since RSA keys are slow to make. */
export function makeMaterials(randomBytes: (length: number) => Buffer): Map<string, Material> {
  const rsa = [0, 1, 2].map((i): [string, Material] => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    return [`rsa-${i}`, { spec: { kty: 'RSA', size: 2048 }, jwk: texts(privateKey), privateKey }];
  });
  const ec = CURVES.map((curve): [string, Material] => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: NODE_CURVES[curve] ?? curve });
    return [curve, { spec: { kty: 'EC', curve }, jwk: { ...texts(privateKey), crv: curve }, privateKey }];
  });
  const oct = [16, 24, 32].map((length): [string, Material] => {
    const secret = randomBytes(length);
    const jwk = { kty: 'oct', k: base64url(secret) };
    return [`oct-${length * 8}`, { spec: { kty: 'oct', size: length * 8 }, jwk, secret }];
  });
  return new Map([...rsa, ...ec, ...oct]);
}

function texts(key: KeyObject): Record<string, string> {
  const jwk: JsonWebKey = key.export({ format: 'jwk' });
  return Object.fromEntries(Object.entries(jwk).map(([member, value]) => [member, String(value)]));
}

/** The public key of a JWK with the curve's name of the service. */
export function publicKeyFrom(jwk: Readonly<Record<string, string>>): KeyObject {
  const { kty = '', n = '', e = '', crv = '', x = '', y = '' } = jwk;
  const type = kty.replace('-HSM', '');
  if (type === 'RSA') return createPublicKey({ format: 'jwk', key: { kty: type, n, e } });
  return createPublicKey({
    format: 'jwk',
    key: { kty: type, crv: crv === 'P-256K' ? 'secp256k1' : crv, x, y },
  });
}

/** A signature over the message by the private key here. */
export function signHere(algorithm: string, { privateKey }: Material, message: Buffer): Buffer {
  const key = privateKey ?? createPrivateKey('');
  if (algorithm.startsWith('RS')) return sign(hashOf(algorithm), message, key);
  if (algorithm.startsWith('PS')) {
    const padding = constants.RSA_PKCS1_PSS_PADDING;
    return sign(hashOf(algorithm), message, { key, padding, saltLength: constants.RSA_PSS_SALTLEN_DIGEST });
  }
  return sign(hashOf(algorithm), message, { key, dsaEncoding: 'ieee-p1363' });
}

/** What AES made of a plaintext, or of a key to wrap. */
export interface Sealed {
  readonly value: Buffer;
  readonly iv?: Buffer;
  readonly tag?: Buffer;
  readonly aad?: Buffer;
}

/** RFC 3394 section 2.2.3.1. */
const WRAP_IV = Buffer.alloc(8, 0xa6);

/** Encrypts or wraps with AES as the algorithm says; the iv is ignored where there is none. */
export function sealHere(
  algorithm: string,
  secret: Buffer,
  text: Buffer,
  iv: Buffer,
  aad: Buffer | undefined,
): Sealed {
  const bits = secret.length * 8;
  if (algorithm.endsWith('GCM')) {
    const cipher = createCipheriv(`aes-${bits}-gcm` as 'aes-256-gcm', secret, iv.subarray(0, 12));
    if (aad) cipher.setAAD(aad);
    const value = Buffer.concat([cipher.update(text), cipher.final()]);
    return { value, iv: iv.subarray(0, 12), tag: cipher.getAuthTag(), ...(aad && { aad }) };
  }
  if (algorithm.endsWith('KW')) {
    const cipher = createCipheriv(`id-aes${bits}-wrap`, secret, WRAP_IV);
    return { value: Buffer.concat([cipher.update(text), cipher.final()]) };
  }
  const cipher = createCipheriv(`aes-${bits}-cbc`, secret, iv);
  cipher.setAutoPadding(algorithm.endsWith('PAD'));
  return { value: Buffer.concat([cipher.update(text), cipher.final()]), iv };
}

/** Opens what a key here can open; undefined when it cannot. */
export function openHere(
  algorithm: string,
  { privateKey, secret }: Material,
  { value, iv, tag, aad }: Sealed,
): Buffer | undefined {
  try {
    if (privateKey && algorithm === 'RSA1_5') return unpadded(privateKey, value);
    if (privateKey) return privateDecrypt({ key: privateKey, ...paddingOf(algorithm) }, value);
    if (!secret) return undefined;
    const bits = secret.length * 8;
    if (algorithm.endsWith('GCM')) {
      const cipher = createDecipheriv(`aes-${bits}-gcm` as 'aes-256-gcm', secret, iv ?? WRAP_IV);
      cipher.setAuthTag(tag ?? WRAP_IV);
      if (aad) cipher.setAAD(aad);
      return Buffer.concat([cipher.update(value), cipher.final()]);
    }
    if (algorithm.endsWith('KW')) {
      const cipher = createDecipheriv(`id-aes${bits}-wrap`, secret, WRAP_IV);
      return Buffer.concat([cipher.update(value), cipher.final()]);
    }
    const cipher = createDecipheriv(`aes-${bits}-cbc`, secret, iv ?? WRAP_IV);
    cipher.setAutoPadding(algorithm.endsWith('PAD'));
    return Buffer.concat([cipher.update(value), cipher.final()]);
  } catch {
    return undefined;
  }
}

/** RFC 8017 section 7.2.2, since Node refuses to take this padding off. */
function unpadded(key: KeyObject, value: Buffer): Buffer | undefined {
  const block = privateDecrypt({ key, padding: constants.RSA_NO_PADDING }, value);
  const end = block.indexOf(0, 2);
  return block[0] === 0 && block[1] === 2 && end >= 10 ? block.subarray(end + 1) : undefined;
}
