// Checks a downloaded attestation: what the certificates say, what the partition's key signed, and that both are of
// the key that the bundle shows. Pure: bytes and a time in, a finding or an error out; no file, no socket.
import { X509Certificate, createHash, verify } from 'node:crypto';
import { AsnConvert } from '@peculiar/asn1-schema';
import { Certificate } from '@peculiar/asn1-x509';
import * as z from 'zod';
import {
  ATTESTATION_SIGNATURE_LENGTH,
  ATTESTATION_VERSION,
  ATTESTED_LABEL,
  AttestationError,
  attestedClass,
  attestedKeyType,
  attestedPublicKey,
  parseAttestation,
  subjectPublicKeyInfo,
  type Attested,
} from '../../values/attestation.js';
import { fromBase64url } from '../../values/bytes.js';
import { coordinateLength, type PublicPart } from '../../values/key-spec.js';
import { publicKeyOf } from '../../values/public-key.js';

/** What was found to be attested, once everything holds. */
export interface Finding {
  /** `/keys/{name}/{version}`. */
  readonly id: string;
  readonly pool: string;
  /** Number of the partition that signed. */
  readonly partition: number;
  /** SHA-256 of the owner's certificate (DER), lower-case hex. */
  readonly ownerFingerprint: string;
  /** Was it compared with one that is known from elsewhere? If not, anybody may have made all of this. */
  readonly ownerVerified: boolean;
  readonly privateKey: Attested;
  /** Absent for symmetric keys. */
  readonly publicKey?: Attested;
}

const ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2';
const CERTIFICATES = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*/g;
const OWNER_NAME = /^CN=Trivet pool ([a-z0-9-]{1,24}) owner$/;
const PARTITION_NAME = /^CN=Trivet pool ([a-z0-9-]{1,24}) partition ([0-9])$/;
const ID = /^\/keys\/[0-9a-zA-Z-]{1,127}\/[0-9a-f]{32}$/;
/** More than any blob or bundle of certificates takes. */
const TEXT_MAX = 65_536;

const text = z.string().max(TEXT_MAX);
const common = { kid: text };
const bundleShape = z.object({
  key: z.discriminatedUnion('kty', [
    z.object({ ...common, kty: z.literal('RSA-HSM'), n: text, e: text }),
    z.object({
      ...common,
      kty: z.literal('EC-HSM'),
      crv: z.enum(['P-256', 'P-256K', 'P-384', 'P-521']),
      x: text,
      y: text,
    }),
    z.object({ ...common, kty: z.literal('oct-HSM') }),
  ]),
  attributes: z.object({
    attestation: z.object({
      certificatePemFile: text,
      privateKeyAttestation: text,
      publicKeyAttestation: text.nullish(),
      version: text,
    }),
  }),
});
type Bundle = z.infer<typeof bundleShape>;

/**
 * Checks a KeyBundle as `GET /keys/{name}/{version}/attestation` answers it.
 * @param pin SHA-256 of the owner's certificate as it is known from elsewhere, lower-case hex.
 * @param now decides which certificates are in their time.
 * @throws AttestationError that says what does not hold; nothing else, whatever the text is.
 */
export function checkAttestation(json: string, pin: string | undefined, now: Date): Finding {
  const { key, attributes } = readBundle(json);
  const { attestation } = attributes;
  if (attestation.version !== ATTESTATION_VERSION) {
    bad(
      `the attestation is not of the version ${ATTESTATION_VERSION}, which is the one that is checked here`,
    );
  }
  const chain = checkChain(decode(attestation.certificatePemFile, 'certificatePemFile'), now);
  if (pin !== undefined && pin !== chain.ownerFingerprint) {
    bad(`the owner's certificate is another one: its SHA-256 is ${chain.ownerFingerprint}`);
  }
  const id = idOf(key.kid);
  const privateKey = checkBlob(attestation.privateKeyAttestation, 'private', chain.partitionKey, id);
  const finding = {
    id,
    pool: chain.pool,
    partition: chain.partition,
    ownerFingerprint: chain.ownerFingerprint,
    ownerVerified: pin !== undefined,
    privateKey,
  };
  if (key.kty === 'oct-HSM') {
    if (attestation.publicKeyAttestation != null) bad('a symmetric key has no public key to attest');
    expectKind(privateKey, 'private', attestedClass.secretKey, [
      attestedKeyType.aes,
      attestedKeyType.genericSecret,
    ]);
    return finding;
  }
  if (attestation.publicKeyAttestation == null) return bad('the attestation of the public key is missing');
  const publicKey = checkBlob(attestation.publicKeyAttestation, 'public', chain.partitionKey, id);
  const keyType = key.kty === 'RSA-HSM' ? attestedKeyType.rsa : attestedKeyType.ec;
  expectKind(privateKey, 'private', attestedClass.privateKey, [keyType]);
  expectKind(publicKey, 'public', attestedClass.publicKey, [keyType]);
  checkPublicKey(key, privateKey, publicKey);
  return { ...finding, publicKey };
}

function readBundle(json: string): Bundle {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    return bad('the file is not JSON', cause);
  }
  const read = bundleShape.safeParse(value);
  if (read.success) return read.data;
  const where = read.error.issues[0]?.path.join('.') ?? '';
  return bad(`the file is no key with an attestation: "${where}" is missing or wrong`, read.error);
}

function decode(base64url: string, what: string): Buffer {
  return fromBase64url(base64url) ?? bad(`${what} is not base64url`);
}

/** The path of a `kid`; which host answered does not matter. */
function idOf(kid: string): string {
  const path = URL.canParse(kid) ? new URL(kid).pathname : '';
  return ID.test(path) ? path : bad('the kid is not the URL of a version of a key');
}

export interface Chain {
  readonly pool: string;
  readonly partition: number;
  readonly ownerFingerprint: string;
  readonly partitionKey: X509Certificate['publicKey'];
}

/**
 * Checks the certificates of a partition and of its pool's owner.
 * @throws AttestationError
 */
export function checkChain(pem: Buffer, now: Date): Chain {
  const [partition, owner, more] = readCertificates(pem.toString('latin1'));
  if (!partition || !owner || more) {
    return bad('there are not two certificates: the partition’s, then the owner’s');
  }
  const [, pool] = OWNER_NAME.exec(owner.subject) ?? bad('the second certificate is not a pool owner’s');
  const [, pool2, number] =
    PARTITION_NAME.exec(partition.subject) ?? bad('the first certificate is not a partition’s');
  if (pool === undefined || pool !== pool2) return bad('partition and owner are of different pools');
  if (owner.publicKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    bad('the owner’s key is not on P-256');
  if (!owner.ca || !owner.checkIssued(owner) || !isSignedBy(owner, owner)) {
    bad('the owner’s certificate is not self-signed');
  }
  if (partition.ca || !partition.checkIssued(owner) || !isSignedBy(partition, owner)) {
    bad('the partition’s certificate is not issued by the owner');
  }
  expectInTime(owner, 'owner', now);
  expectInTime(partition, 'partition', now);
  const { publicKey: partitionKey } = partition;
  if (
    partitionKey.asymmetricKeyType !== 'rsa' ||
    partitionKey.asymmetricKeyDetails?.modulusLength !== 8 * ATTESTATION_SIGNATURE_LENGTH ||
    // With the exponent 1 anybody could sign.
    partitionKey.asymmetricKeyDetails.publicExponent !== 65_537n
  ) {
    bad('the partition’s key is not RSA of 2048 bits');
  }
  return { pool, partition: Number(number), ownerFingerprint: fingerprintOf(owner.raw), partitionKey };
}

/** SHA-256 of a certificate in DER, lower-case hex. */
export function fingerprintOf(der: Uint8Array): string {
  return createHash('sha256').update(der).digest('hex');
}

function readCertificates(pem: string): X509Certificate[] {
  if (pem.replace(CERTIFICATES, '').trim() !== '')
    bad('there is more than certificates in certificatePemFile');
  return [...pem.matchAll(CERTIFICATES)].map(([, base64]) =>
    readCertificate(Buffer.from(base64 ?? '', 'base64')),
  );
}

/**
 * One certificate in DER.
 * @throws AttestationError when it is anything else.
 */
export function readCertificate(der: Buffer): X509Certificate {
  try {
    const certificate = new X509Certificate(der);
    // OpenSSL overlooks what follows a certificate, and reads a key only when it is asked for.
    if (certificate.raw.equals(der) && certificate.publicKey.type === 'public') return certificate;
  } catch (cause) {
    return bad('there is a certificate that cannot be read', cause);
  }
  return bad('there is something behind a certificate');
}

function isSignedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    const { raw } = certificate;
    const { signatureAlgorithm } = AsnConvert.parse(Uint8Array.from(raw).buffer, Certificate);
    return signatureAlgorithm.algorithm === ECDSA_WITH_SHA256 && certificate.verify(issuer.publicKey);
  } catch {
    return false; // OpenSSL throws for an algorithm that does not fit the key
  }
}

function expectInTime({ validFrom, validTo }: X509Certificate, whose: string, now: Date): void {
  if (!(new Date(validFrom) <= now)) bad(`the ${whose}’s certificate is not valid before ${validFrom}`);
  if (!(now <= new Date(validTo))) bad(`the ${whose}’s certificate has expired: ${validTo}`);
}

function checkBlob(
  base64url: string,
  which: 'private' | 'public',
  partitionKey: Chain['partitionKey'],
  id: string,
): Attested {
  const blob = decode(base64url, `${which}KeyAttestation`);
  const { attested, signed, signature } = parseOne(blob, which);
  if (!verify('sha256', signed, partitionKey, signature)) {
    bad(`the ${which} key’s attestation is not signed by the partition`);
  }
  if (attested.label !== ATTESTED_LABEL) bad(`the ${which} key’s attestation is not of a customer’s key`);
  if (attested.id !== id) bad(`the ${which} key’s attestation is of another key: ${attested.id ?? 'no id'}`);
  return attested;
}

function parseOne(blob: Buffer, which: string): ReturnType<typeof parseAttestation> {
  try {
    return parseAttestation(blob);
  } catch (error) {
    if (!(error instanceof AttestationError)) throw error;
    return bad(`the ${which} key’s attestation is malformed: ${error.message}`, error);
  }
}

function expectKind(
  attested: Attested,
  which: string,
  objectClass: number,
  keyTypes: readonly number[],
): void {
  if (attested.class !== objectClass) bad(`the ${which} key’s attestation is of another class of object`);
  if (attested.keyType === undefined || !keyTypes.includes(attested.keyType)) {
    bad(`the ${which} key’s attestation is of another type of key`);
  }
}

function checkPublicKey(
  key: Exclude<Bundle['key'], { kty: 'oct-HSM' }>,
  privateKey: Attested,
  publicKey: Attested,
): void {
  const shown = shownKey(key);
  const hash = createHash('sha256').update(shown).digest();
  if (!subjectPublicKeyInfo(attestedPublicKey(publicKey)).equals(shown)) {
    bad('the public key of the bundle is not the attested one');
  }
  if (!privateKey.publicKeySha256 || !hash.equals(privateKey.publicKeySha256)) {
    bad('the attested private key does not belong to the public key of the bundle');
  }
  if (key.kty === 'RSA-HSM' && !subjectPublicKeyInfo(attestedPublicKey(privateKey)).equals(shown)) {
    bad('the attested private key has another modulus than the public key of the bundle');
  }
}

/** SubjectPublicKeyInfo of the bundle's JWK. */
function shownKey(key: Exclude<Bundle['key'], { kty: 'oct-HSM' }>): Buffer {
  const part: Exclude<PublicPart, { kty: 'oct' }> =
    key.kty === 'RSA-HSM'
      ? { kty: 'RSA', n: decode(key.n, 'n'), e: decode(key.e, 'e') }
      : { kty: 'EC', curve: key.crv, x: coordinate(key, key.x), y: coordinate(key, key.y) };
  try {
    return subjectPublicKeyInfo(publicKeyOf(part));
  } catch (cause) {
    return bad('the public key of the bundle is none', cause);
  }
}

function coordinate({ crv }: { readonly crv: keyof typeof coordinateLength }, base64url: string): Buffer {
  const bytes = decode(base64url, 'a coordinate');
  return bytes.length === coordinateLength[crv] ? bytes : bad('a coordinate of the key has a wrong length');
}

function bad(what: string, cause?: unknown): never {
  throw new AttestationError(what, { cause });
}
