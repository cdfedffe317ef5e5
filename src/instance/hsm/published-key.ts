// A signing key as an issuer publishes it: one member of a JSON Web Key set (RFC 7517), read with suspicion. What is
// not fit is left out rather than refused, since key sets hold keys of many kinds. Pure.
import { createPublicKey, X509Certificate, type KeyObject } from 'node:crypto';
import * as z from 'zod';
import { fromBase64url, trimInteger } from '../../values/bytes.js';

/** A key that verifies what an issuer signed. */
export interface SigningKey {
  readonly kid: string;
  readonly kty: 'RSA' | 'EC';
  /** The only algorithm that the key is for, if the issuer says so. */
  readonly alg?: string;
  readonly publicKey: KeyObject;
}

/** Reads a JWK; undefined if it is not fit. */
export type KeyOf = (jwk: unknown) => SigningKey | undefined;

const RSA_MIN = 2_048;
const RSA_MAX = 8_192;

const commonShape = z.object({
  kid: z.string().min(1).max(1_024),
  kty: z.enum(['RSA', 'EC']),
  use: z.literal('sig').optional(),
  key_ops: z.array(z.string()).optional(),
  alg: z.string().optional(),
  n: z.string().optional(),
  e: z.string().optional(),
  crv: z.string().optional(),
  x: z.string().optional(),
  y: z.string().optional(),
});
const certifiedShape = commonShape.extend({ x5c: z.array(z.string()).min(1) });

/** The key as its certificate has it, if the JWK has all that one must have and nothing contradicts it. */
export const certifiedKey: KeyOf = (value) => {
  const parsed = certifiedShape.safeParse(value);
  if (!parsed.success) return undefined;
  const { kid, kty, alg, x5c, ...jwk } = parsed.data;
  const publicKey = keyOfCertificate(x5c[0] ?? '');
  if (!publicKey || !isFit(publicKey, kty)) return undefined;
  const certified = publicKey.export({ format: 'jwk' });
  for (const member of ['n', 'e', 'x', 'y'] as const) {
    if (jwk[member] !== undefined && !sameInteger(jwk[member], certified[member])) return undefined;
  }
  if (jwk.crv !== undefined && jwk.crv !== certified.crv) return undefined;
  return { kid, kty, ...(alg === undefined ? {} : { alg }), publicKey };
};

/** The key as the JWK itself has it; a certificate beside it does not count. */
export const plainKey: KeyOf = (value) => {
  const parsed = commonShape.safeParse(value);
  if (!parsed.success) return undefined;
  const { kid, kty, alg, n, e, crv, x, y, key_ops } = parsed.data;
  if (key_ops && !key_ops.includes('verify')) return undefined;
  const publicKey = keyOfMembers(kty === 'RSA' ? { kty, n, e } : { kty, crv, x, y });
  if (!publicKey || !isFit(publicKey, kty)) return undefined;
  return { kid, kty, ...(alg === undefined ? {} : { alg }), publicKey };
};

function isFit(publicKey: KeyObject, kty: SigningKey['kty']): boolean {
  if (publicKey.asymmetricKeyType !== kty.toLowerCase()) return false;
  if (kty === 'EC') return true;
  const { modulusLength = 0, publicExponent = 0n } = publicKey.asymmetricKeyDetails ?? {};
  return modulusLength >= RSA_MIN && modulusLength <= RSA_MAX && publicExponent >= 3n;
}

function keyOfMembers(jwk: Record<string, string | undefined>): KeyObject | undefined {
  try {
    return createPublicKey({ key: jwk, format: 'jwk' });
  } catch {
    return undefined;
  }
}

function keyOfCertificate(text: string): KeyObject | undefined {
  try {
    const der = Buffer.from(text, 'base64');
    const certificate = new X509Certificate(der);
    return certificate.raw.equals(der) ? certificate.publicKey : undefined;
  } catch {
    return undefined;
  }
}

function sameInteger(a: string, b: string | undefined): boolean {
  const [left, right] = [fromBase64url(a), fromBase64url(b ?? '')];
  return left !== undefined && right !== undefined && trimInteger(left).equals(trimInteger(right));
}
