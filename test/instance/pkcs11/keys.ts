// Keys to test with, and their public halves as Node knows them.
import { createPublicKey, type KeyObject } from 'node:crypto';
import type { Template } from '../../../src/instance/pkcs11/attribute.js';
import { CKK, CKM, CKO } from '../../../src/instance/pkcs11/constants.js';
import type { Session } from '../../../src/instance/pkcs11/session.js';

export type Curve = 'P-256' | 'P-384' | 'P-521' | 'secp256k1';

// DER object identifiers.
export const curves: Readonly<Record<Curve, Buffer>> = {
  'P-256': Buffer.from('06082a8648ce3d030107', 'hex'),
  'P-384': Buffer.from('06052b81040022', 'hex'),
  'P-521': Buffer.from('06052b81040023', 'hex'),
  secp256k1: Buffer.from('06052b8104000a', 'hex'),
};

export const publicExponent = Buffer.from([1, 0, 1]);

export interface Pair {
  readonly publicKey: number;
  readonly privateKey: number;
  readonly node: KeyObject;
}

export async function ecPair(
  session: Session,
  curve: Curve = 'P-256',
  template: Template = {},
): Promise<Pair> {
  const pair = await session.generateKeyPair(
    { type: CKM.EC_KEY_PAIR_GEN },
    { token: false, private: false, verify: true, ecParams: curves[curve] },
    { token: false, private: true, sensitive: true, extractable: true, sign: true, ...template },
  );
  return { ...pair, node: ecPublicKey(curve, await ecPointOf(session, pair.publicKey)) };
}

/** The uncompressed point, out of its OCTET STRING. */
export async function ecPointOf(session: Session, publicKey: number): Promise<Buffer> {
  const { ecPoint } = await session.getAttributes(publicKey, ['ecPoint']);
  if (ecPoint === undefined) throw new Error('no point');
  return ecPoint.subarray(ecPoint[1] === 0x81 ? 3 : 2);
}

export function ecPublicKey(curve: Curve, point: Buffer): KeyObject {
  const length = (point.length - 1) / 2;
  return createPublicKey({
    format: 'jwk',
    key: {
      kty: 'EC',
      crv: curve,
      x: point.subarray(1, 1 + length).toString('base64url'),
      y: point.subarray(1 + length).toString('base64url'),
    },
  });
}

export async function rsaPair(session: Session, modulusBits = 2048, template: Template = {}): Promise<Pair> {
  const pair = await session.generateKeyPair(
    { type: CKM.RSA_PKCS_KEY_PAIR_GEN },
    { token: false, private: false, verify: true, encrypt: true, wrap: true, modulusBits, publicExponent },
    {
      token: false,
      private: true,
      sensitive: true,
      extractable: true,
      sign: true,
      decrypt: true,
      ...template,
    },
  );
  const { modulus } = await session.getAttributes(pair.publicKey, ['modulus']);
  if (modulus === undefined) throw new Error('no modulus');
  const node = createPublicKey({
    format: 'jwk',
    key: { kty: 'RSA', n: modulus.toString('base64url'), e: publicExponent.toString('base64url') },
  });
  return { ...pair, node };
}

/** An AES key that may do everything, with a value that Node knows too. */
export function aesKey(session: Session, value: Uint8Array, template: Template = {}): Promise<number> {
  return session.createObject({
    class: CKO.SECRET_KEY,
    keyType: CKK.AES,
    token: false,
    private: true,
    sensitive: false,
    extractable: true,
    encrypt: true,
    decrypt: true,
    wrap: true,
    unwrap: true,
    value,
    ...template,
  });
}
