// Custodians: the private halves of the certificates that a security domain is made for. Opens what is wrapped for
// one of them, and makes a new key pair with the certificate that custodian tools expect.
import {
  constants,
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  privateDecrypt,
  sign,
} from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { AsnConvert } from '@peculiar/asn1-schema';
import {
  AlgorithmIdentifier,
  AttributeTypeAndValue,
  AttributeValue,
  Certificate,
  Name,
  RelativeDistinguishedName,
  SubjectPublicKeyInfo,
  TBSCertificate,
  Validity,
  Version,
} from '@peculiar/asn1-x509';
import { toPem } from '../values/certificate.js';
import type { WrappingCertificate } from './certificates.js';
import type { UnwrapKey } from './jwe.js';
import { SecurityDomainError } from './problem.js';
import type { Random } from './shares.js';

/** A custodian who is present: can open what was wrapped for one certificate. */
export interface CustodianKey {
  /** For messages: the file's name, as a rule. */
  readonly name: string;
  /** Of the certificate. */
  readonly thumbprint: string;
  readonly unwrap: UnwrapKey;
}

/** A new pair, as files hold it. */
export interface CustodianPair {
  /** PKCS#8 in PEM, without a passphrase: who has the file has the share. */
  readonly privateKeyPem: string;
  readonly certificatePem: string;
  readonly certificate: Buffer;
}

const SHA256_WITH_RSA = '1.2.840.113549.1.1.11';
const COMMON_NAME = '2.5.4.3';
const DER_NULL = Uint8Array.of(5, 0).buffer;
/** RFC 5280 section 4.1.2.5: "no well-defined expiration date". A custodian's key is needed when nobody expects it. */
const NO_END = new Date('9999-12-31T23:59:59Z');

/** Binds a private key to its certificate; throws `BadKey` when the two do not belong together. */
export function custodianKey(
  name: string,
  certificate: WrappingCertificate,
  privateKey: KeyObject,
): CustodianKey {
  if (!createPublicKey(privateKey).equals(certificate.publicKey)) {
    throw new SecurityDomainError('BadKey', `${name} is not the private key of its certificate`);
  }
  return { name, thumbprint: certificate.thumbprint, unwrap: unwrapWith(privateKey) };
}

/** RSA-OAEP-256 with a private key that is here. */
export function unwrapWith(key: KeyObject): UnwrapKey {
  return (encryptedKey) => {
    try {
      const padding = constants.RSA_PKCS1_OAEP_PADDING;
      return Promise.resolve(privateDecrypt({ key, padding, oaepHash: 'sha256' }, encryptedKey));
    } catch {
      return Promise.resolve(undefined);
    }
  };
}

/** Reads a private key in PEM or DER (PKCS#8 or PKCS#1); throws `BadKey` for anything but an RSA key in clear. */
export function readPrivateKey(content: Buffer, name: string): KeyObject {
  const text = content.toString('latin1');
  if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m.test(text)) {
    throw new SecurityDomainError(
      'BadKey',
      `${name} is protected by a passphrase; take it off on a machine you trust: openssl pkey -in ${name} -out FILE`,
    );
  }
  const key = parseKey(content, text.includes('-----BEGIN '));
  if (key?.asymmetricKeyType === 'rsa') return key;
  throw new SecurityDomainError('BadKey', `${name} is not an RSA private key`);
}

function parseKey(content: Buffer, pem: boolean): KeyObject | undefined {
  const tries = pem
    ? [() => createPrivateKey(content)]
    : (['pkcs8', 'pkcs1'] as const).map(
        (type) => () => createPrivateKey({ key: content, format: 'der', type }),
      );
  for (const attempt of tries) {
    try {
      return attempt();
    } catch {
      continue; // the next form, if there is one
    }
  }
  return undefined;
}

/** Makes a custodian's key and its self-signed certificate. */
export async function makeCustodianPair(request: {
  readonly commonName: string;
  readonly modulusBits: number;
  readonly notBefore: Date;
  readonly random: Random;
}): Promise<CustodianPair> {
  const pair = await promisify(generateKeyPair)('rsa', { modulusLength: request.modulusBits });
  const certificate = selfSigned(request.commonName, pair, request.notBefore, request.random(16));
  return {
    privateKeyPem: pair.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    certificatePem: toPem(certificate),
    certificate,
  };
}

function selfSigned(
  commonName: string,
  pair: { publicKey: KeyObject; privateKey: KeyObject },
  notBefore: Date,
  serial: Uint8Array,
): Buffer {
  const name = new Name([
    new RelativeDistinguishedName([
      new AttributeTypeAndValue({
        type: COMMON_NAME,
        value: new AttributeValue({ utf8String: commonName }),
      }),
    ]),
  ]);
  const signatureAlgorithm = new AlgorithmIdentifier({ algorithm: SHA256_WITH_RSA, parameters: DER_NULL });
  const serialNumber = Uint8Array.from(serial);
  serialNumber[0] = ((serialNumber[0] ?? 0) & 0x3f) | 0x40; // positive, and of full length
  const spki = Uint8Array.from(pair.publicKey.export({ format: 'der', type: 'spki' }));
  const tbsCertificate = new TBSCertificate({
    version: Version.v3,
    serialNumber: serialNumber.buffer,
    signature: signatureAlgorithm,
    issuer: name,
    validity: new Validity({ notBefore, notAfter: NO_END }),
    subject: name,
    subjectPublicKeyInfo: AsnConvert.parse(spki.buffer, SubjectPublicKeyInfo),
  });
  const signature = sign('sha256', Buffer.from(AsnConvert.serialize(tbsCertificate)), pair.privateKey);
  return Buffer.from(
    AsnConvert.serialize(
      new Certificate({
        tbsCertificate,
        signatureAlgorithm,
        signatureValue: Uint8Array.from(signature).buffer,
      }),
    ),
  );
}
