// X.509 certificates (RFC 5280) with ECDSA P-256 signatures. Builds what is to be signed and leaves the signing to a
// callback, because some issuers keep their key in an HSM slot. Knows no key store, no file and no clock.
import { createHash, randomBytes } from 'node:crypto';
import { AsnConvert, OctetString } from '@peculiar/asn1-schema';
import {
  AlgorithmIdentifier,
  AttributeTypeAndValue,
  AttributeValue,
  AuthorityKeyIdentifier,
  BasicConstraints,
  Certificate,
  ExtendedKeyUsage,
  Extension,
  Extensions,
  GeneralName,
  GeneralSubtree,
  GeneralSubtrees,
  KeyIdentifier,
  KeyUsage,
  KeyUsageFlags,
  Name,
  NameConstraints,
  RelativeDistinguishedName,
  SubjectAlternativeName,
  SubjectKeyIdentifier,
  SubjectPublicKeyInfo,
  TBSCertificate,
  Validity,
  Version,
  id_ce_authorityKeyIdentifier,
  id_ce_basicConstraints,
  id_ce_extKeyUsage,
  id_ce_keyUsage,
  id_ce_nameConstraints,
  id_ce_subjectAltName,
  id_ce_subjectKeyIdentifier,
  id_kp_clientAuth,
  id_kp_serverAuth,
} from '@peculiar/asn1-x509';
import { assert } from './assert.js';
import { trimInteger } from './bytes.js';

const ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2';
const COMMON_NAME = '2.5.4.3';

/** Names a certificate speaks for; in name constraints an IP address may carry a prefix length (`127.0.0.0/8`). */
export interface CertificateNames {
  readonly dns: readonly string[];
  readonly ip: readonly string[];
}

export interface CertificateRequest {
  readonly subject: { readonly commonName: string };
  readonly issuer: { readonly commonName: string };
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array;
  /** Positive integer, big-endian, at most 20 octets; random when absent. */
  readonly serial?: Uint8Array;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** Subject alternative names; none for an authority as a rule. */
  readonly names?: CertificateNames;
  /** May sign certificates (and nothing else). */
  readonly authority: boolean;
  /** How many authorities may follow below this one; only for an authority. */
  readonly pathLength?: number;
  /** Only these subtrees may be certified below; only for an authority. */
  readonly permittedNames?: CertificateNames;
  /** These subtrees may never be certified below; only for an authority. */
  readonly excludedNames?: CertificateNames;
  /** A leaf's key encrypts keys and signs nothing. */
  readonly encipherment?: true;
  /** What a leaf's key may do in TLS. */
  readonly usages?: readonly ('serverAuth' | 'clientAuth')[];
  /** {@link keyIdOf} the issuer's public key; absent for a self-signed certificate. */
  readonly authorityKeyId?: Uint8Array;
  /** Signs with ECDSA P-256 and SHA-256; the answer is DER-encoded, see {@link ecdsaRawToDer}. */
  readonly sign: (toBeSigned: Buffer) => Promise<Buffer> | Buffer;
}

/** Issues a certificate; the answer is DER. */
export async function issueCertificate(request: CertificateRequest): Promise<Buffer> {
  assert(
    request.authority ||
      (request.pathLength ?? request.permittedNames ?? request.excludedNames) === undefined,
    'only an authority has a path length or name constraints',
  );
  const signatureAlgorithm = new AlgorithmIdentifier({ algorithm: ECDSA_WITH_SHA256 });
  const tbsCertificate = new TBSCertificate({
    version: Version.v3,
    serialNumber: arrayBuffer(serialOf(request.serial)),
    signature: signatureAlgorithm,
    issuer: nameOf(request.issuer.commonName),
    validity: new Validity({ notBefore: request.notBefore, notAfter: request.notAfter }),
    subject: nameOf(request.subject.commonName),
    subjectPublicKeyInfo: publicKeyInfo(request.publicKey),
    extensions: new Extensions(extensionsOf(request)),
  });
  const signature = await request.sign(Buffer.from(AsnConvert.serialize(tbsCertificate)));
  const certificate = new Certificate({
    tbsCertificate,
    signatureAlgorithm,
    signatureValue: arrayBuffer(signature),
  });
  return Buffer.from(AsnConvert.serialize(certificate));
}

/** PEM text of a DER certificate. */
export function toPem(der: Uint8Array): string {
  const lines = Buffer.from(der)
    .toString('base64')
    .match(/.{1,64}/g);
  return `-----BEGIN CERTIFICATE-----\n${(lines ?? []).join('\n')}\n-----END CERTIFICATE-----\n`;
}

/** Key identifier of a public key (SPKI DER): RFC 7093 section 2, method 1. */
export function keyIdOf(publicKey: Uint8Array): Buffer {
  const key = publicKeyInfo(publicKey).subjectPublicKey;
  return createHash('sha256').update(new Uint8Array(key)).digest().subarray(0, 20);
}

/** Turns a PKCS#11 signature, `r` and `s` at fixed width, into the DER form that certificates hold. */
export function ecdsaRawToDer(raw: Uint8Array): Buffer {
  assert(
    raw.length > 0 && raw.length % 2 === 0 && raw.length <= 132,
    'an ECDSA signature has two equal halves',
  );
  const half = raw.length / 2;
  const body = Buffer.concat([derInteger(raw.subarray(0, half)), derInteger(raw.subarray(half))]);
  // Two P-521 integers take up to 136 octets, so the length may need its two-octet form.
  const length = body.length < 128 ? [body.length] : [0x81, body.length];
  return Buffer.concat([Buffer.from([0x30, ...length]), body]);
}

function derInteger(bytes: Uint8Array): Buffer {
  const bare = trimInteger(bytes);
  const sign = (bare[0] ?? 0) & 0x80 ? [0] : []; // an integer with its top bit set would read as negative
  return Buffer.concat([Buffer.from([0x02, bare.length + sign.length, ...sign]), bare]);
}

function serialOf(given: Uint8Array | undefined): Buffer {
  if (given) {
    const bare = trimInteger(given);
    assert(
      bare.length <= 20 && ((bare[0] ?? 0) & 0x80) === 0,
      'a serial number is positive and fits 20 octets',
    );
    return bare;
  }
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40; // positive, and never shorter
  return serial;
}

function extensionsOf(request: CertificateRequest): Extension[] {
  const ownKeyId = keyIdOf(request.publicKey);
  const constraints = new BasicConstraints({ cA: request.authority });
  if (request.pathLength !== undefined) constraints.pathLenConstraint = request.pathLength;
  const leafUsage = request.encipherment ? KeyUsageFlags.keyEncipherment : KeyUsageFlags.digitalSignature;
  const usage = request.authority ? KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign : leafUsage;
  const extensions = [
    extension(id_ce_basicConstraints, true, constraints),
    extension(id_ce_keyUsage, true, new KeyUsage(usage)),
    extension(id_ce_subjectKeyIdentifier, false, new SubjectKeyIdentifier(arrayBuffer(ownKeyId))),
    extension(
      id_ce_authorityKeyIdentifier,
      false,
      new AuthorityKeyIdentifier({
        keyIdentifier: new KeyIdentifier(arrayBuffer(request.authorityKeyId ?? ownKeyId)),
      }),
    ),
  ];
  if (request.usages && request.usages.length > 0) {
    const purposes = request.usages.map((use) =>
      use === 'serverAuth' ? id_kp_serverAuth : id_kp_clientAuth,
    );
    extensions.push(extension(id_ce_extKeyUsage, false, new ExtendedKeyUsage(purposes)));
  }
  const names = generalNames(request.names);
  if (names.length > 0) {
    extensions.push(extension(id_ce_subjectAltName, false, new SubjectAlternativeName(names)));
  }
  const permitted = subtrees(request.permittedNames);
  const excluded = subtrees(request.excludedNames);
  if (permitted ?? excluded) {
    const limits = new NameConstraints({
      ...(permitted && { permittedSubtrees: permitted }),
      ...(excluded && { excludedSubtrees: excluded }),
    });
    extensions.push(extension(id_ce_nameConstraints, true, limits));
  }
  return extensions;
}

function extension(id: string, critical: boolean, value: object): Extension {
  return new Extension({
    extnID: id,
    critical,
    extnValue: new OctetString(AsnConvert.serialize(value)),
  });
}

function generalNames(names: CertificateNames | undefined): GeneralName[] {
  if (!names) return [];
  return [
    ...names.dns.map((dNSName) => new GeneralName({ dNSName })),
    ...names.ip.map((iPAddress) => new GeneralName({ iPAddress })),
  ];
}

function subtrees(names: CertificateNames | undefined): GeneralSubtrees | undefined {
  const bases = generalNames(names);
  if (bases.length === 0) return undefined;
  return new GeneralSubtrees(bases.map((base) => new GeneralSubtree({ base, minimum: 0 })));
}

function nameOf(commonName: string): Name {
  const value = new AttributeValue({ utf8String: commonName });
  return new Name([new RelativeDistinguishedName([new AttributeTypeAndValue({ type: COMMON_NAME, value })])]);
}

function publicKeyInfo(publicKey: Uint8Array): SubjectPublicKeyInfo {
  return AsnConvert.parse(arrayBuffer(publicKey), SubjectPublicKeyInfo);
}

function arrayBuffer(bytes: Uint8Array): ArrayBuffer {
  return Uint8Array.from(bytes).buffer;
}
