// The certificates of custodians, and those that a request for the security domain carries. Only their RSA keys and
// thumbprints matter: no chain is followed and no date looked at, as a custodian's key is for as long as its file is.
import { X509Certificate, createHash } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import * as z from 'zod';
import { fromBase64url, toBase64url, trimInteger } from '../values/bytes.js';
import { SecurityDomainError } from './problem.js';
import { CUSTODIANS_MAX, CUSTODIANS_MIN, Quorum } from './quorum.js';

/** An RSA certificate under whose key something may be wrapped. */
export interface WrappingCertificate {
  readonly der: Buffer;
  /** base64url of the SHA-256 of the DER: the file's `x5t_256`. */
  readonly thumbprint: string;
  readonly publicKey: KeyObject;
  readonly modulusBits: number;
}

/** Who the custodians are and how many it takes: the request of a download, checked. */
export interface CertificateSet {
  readonly certificates: readonly WrappingCertificate[];
  readonly quorum: Quorum;
}

const MODULUS_MIN = 2_048;
const MODULUS_MAX = 16_384;
const CERTIFICATE_MAX = 32_768;
const PEM = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/;

const jwkShape = z.object({
  kty: z.literal('RSA'),
  x5c: z.array(z.string()).length(1),
  key_ops: z.array(z.string()).optional(),
  use: z.literal('enc').optional(),
  alg: z.literal('RSA-OAEP-256').optional(),
  kid: z.string().optional(),
  n: z.string().optional(),
  e: z.string().optional(),
  x5t: z.string().optional(),
  'x5t#S256': z.string().optional(),
});
type Jwk = z.infer<typeof jwkShape>;

const setShape = z.object({
  certificates: z.array(z.unknown()).min(CUSTODIANS_MIN).max(CUSTODIANS_MAX),
  required: z.number(),
});

/**
 * Reads the body of `POST /securitydomain/download`. The key is taken from the certificate; everything the JWK says
 * besides must agree with it. `kid`, `n`, `e` and the thumbprints may be absent, as clients leave some of them out.
 */
export function parseCertificateSet(body: unknown): CertificateSet {
  const set = setShape.safeParse(body);
  if (!set.success) {
    throw bad(
      `the request has "certificates", ${CUSTODIANS_MIN} to ${CUSTODIANS_MAX} of them, and "required", a number`,
      set.error,
    );
  }
  const certificates = set.data.certificates.map((entry, index) => {
    const jwk = jwkShape.safeParse(entry);
    const which = `certificate ${index + 1}`;
    if (!jwk.success) {
      const at = jwk.error.issues[0]?.path.join('.');
      throw bad(`${which} is not an RSA JWK with one entry in x5c: "${at ?? ''}" is wrong`, jwk.error);
    }
    return fromJwk(jwk.data, which);
  });
  return certificateSet(certificates, set.data.required);
}

/** The set of these certificates, which must all be of different keys: two of one key would be two shares in one hand. */
export function certificateSet(
  certificates: readonly WrappingCertificate[],
  required: number,
): CertificateSet {
  const quorum = Quorum.of(required, certificates.length);
  const seen = new Map<string, number>();
  certificates.forEach(({ publicKey }, index) => {
    const key = publicKey.export({ format: 'der', type: 'spki' }).toString('base64');
    const first = seen.get(key);
    if (first !== undefined) {
      throw bad(`certificates ${first + 1} and ${index + 1} have the same key; each custodian needs one`);
    }
    seen.set(key, index);
  });
  return { certificates, quorum };
}

/** Reads a certificate as files hold it: DER, or PEM with lines of any length. `name` is for messages. */
export function readCertificate(content: Uint8Array, name: string): WrappingCertificate {
  if (content.length > CERTIFICATE_MAX) throw bad(`${name} is too long for a certificate`);
  const bytes = Buffer.from(content);
  const pem = PEM.exec(bytes.toString('latin1'));
  const der = pem ? Buffer.from(pem[1] ?? '', 'base64') : bytes;
  return fromDer(der, name);
}

function fromJwk(jwk: Jwk, name: string): WrappingCertificate {
  const text = jwk.x5c[0] ?? '';
  const der = Buffer.from(text, 'base64');
  if (text.length > CERTIFICATE_MAX || der.toString('base64') !== text) {
    throw bad(`x5c of ${name} is not standard base64 with padding`);
  }
  const certificate = fromDer(der, name);
  const { n, e } = certificate.publicKey.export({ format: 'jwk' });
  checkSame(`n of ${name}`, jwk.n, decodeInteger(n));
  checkSame(`e of ${name}`, jwk.e, decodeInteger(e));
  checkThumbprint(`x5t of ${name}`, jwk.x5t, 'sha1', der);
  checkThumbprint(`x5t#S256 of ${name}`, jwk['x5t#S256'], 'sha256', der);
  if (jwk.key_ops && !jwk.key_ops.some((operation) => operation === 'wrapKey' || operation === 'encrypt')) {
    throw bad(`key_ops of ${name} allow neither wrapKey nor encrypt`);
  }
  return certificate;
}

function checkSame(what: string, given: string | undefined, actual: Buffer | undefined): void {
  if (given === undefined) return;
  const bytes = decodeInteger(given);
  if (!bytes || !actual?.equals(bytes)) throw bad(`${what} does not match its certificate`);
}

function checkThumbprint(what: string, given: string | undefined, hash: string, der: Buffer): void {
  if (given === undefined) return;
  const bytes = fromBase64url(given);
  if (!bytes?.equals(createHash(hash).update(der).digest())) {
    throw bad(`${what} does not match its certificate`);
  }
}

function decodeInteger(text: string | undefined): Buffer | undefined {
  const bytes = text === undefined ? undefined : fromBase64url(text);
  return bytes && bytes.length > 0 ? trimInteger(bytes) : undefined;
}

function fromDer(der: Buffer, name: string): WrappingCertificate {
  const publicKey = publicKeyOf(der, name);
  const { modulusLength = 0, publicExponent = 0n } = publicKey.asymmetricKeyDetails ?? {};
  if (publicKey.asymmetricKeyType !== 'rsa') throw bad(`${name} is not for an RSA key`);
  if (modulusLength < MODULUS_MIN || modulusLength > MODULUS_MAX) {
    throw bad(`${name} has a key of ${modulusLength} bits; ${MODULUS_MIN} to ${MODULUS_MAX} are accepted`);
  }
  // With the exponent 1 the "encrypted" share would be the share.
  if (publicExponent < 3n || publicExponent % 2n === 0n) throw bad(`${name} has an impossible exponent`);
  const thumbprint = toBase64url(createHash('sha256').update(der).digest());
  return { der, thumbprint, publicKey, modulusBits: modulusLength };
}

function publicKeyOf(der: Buffer, name: string): KeyObject {
  try {
    const certificate = new X509Certificate(der);
    // OpenSSL overlooks what follows a certificate; the thumbprint would cover it.
    if (certificate.raw.equals(der)) return certificate.publicKey;
  } catch (cause) {
    throw bad(`${name} is not an X.509 certificate`, cause);
  }
  throw bad(`${name} is not one X.509 certificate in DER`);
}

function bad(message: string, cause?: unknown): SecurityDomainError {
  return new SecurityDomainError('BadCertificates', message, { cause });
}
