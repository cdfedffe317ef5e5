// Makes attested key bundles as a pool does, with keys of Node's crypto; every part can be made wrong.
import { createHash, createPublicKey, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { toBeSigned, type Attested } from '../../src/values/attestation.js';
import { issueCertificate, keyIdOf, toPem, type CertificateRequest } from '../../src/values/certificate.js';

export const ID = `/keys/k/${'0123456789abcdef'.repeat(2)}`;
export const NOW = new Date('2026-06-01T00:00:00Z');
const notBefore = new Date('2026-01-01T00:00:00Z');
const notAfter = new Date('2056-01-01T00:00:00Z');

export const base64url = (bytes: Uint8Array | string): string => Buffer.from(bytes).toString('base64url');
export const spki = (key: KeyObject): Buffer =>
  createPublicKey(key.export({ type: 'pkcs8', format: 'pem' })).export({ type: 'spki', format: 'der' });

export const p256 = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
export const rsa = (modulusLength = 2048, publicExponent = 65_537): KeyObject =>
  generateKeyPairSync('rsa', { modulusLength, publicExponent }).privateKey;

export interface Issuer {
  readonly key: KeyObject;
  readonly name: { readonly commonName: string };
  readonly certificate: Buffer;
}

export async function makeOwner(wish: Partial<CertificateRequest> = {}, key = p256()): Promise<Issuer> {
  const name = wish.subject ?? { commonName: 'Trivet pool dev owner' };
  const certificate = await issueCertificate({
    subject: name,
    issuer: name,
    publicKey: spki(key),
    notBefore,
    notAfter,
    authority: true,
    sign: (data) => sign('sha256', data, key),
    ...wish,
  });
  return { key, name, certificate };
}

export function makePartition(
  owner: Issuer,
  key: KeyObject,
  wish: Partial<CertificateRequest> = {},
): Promise<Buffer> {
  return issueCertificate({
    subject: { commonName: 'Trivet pool dev partition 1' },
    issuer: owner.name,
    publicKey: spki(key),
    notBefore,
    notAfter,
    authority: false,
    authorityKeyId: keyIdOf(spki(owner.key)),
    sign: (data) => sign('sha256', data, owner.key),
    ...wish,
  });
}

export function blobOf(attested: Attested, key: KeyObject): Buffer {
  const statement = toBeSigned(attested);
  return Buffer.concat([statement, sign('sha256', statement, key)]);
}

export interface Jwk {
  kid: string;
  kty: string;
  [member: string]: string;
}

export interface Bundle {
  key: Jwk;
  attributes: {
    enabled: boolean;
    attestation: {
      certificatePemFile: string;
      privateKeyAttestation: string;
      publicKeyAttestation?: string | null;
      version: string;
    };
  };
}

/** What a pool of one partition and three keys has. */
export interface Pool {
  readonly owner: Issuer;
  readonly partitionKey: KeyObject;
  readonly certificates: string;
  readonly keys: { readonly rsa: KeyObject; readonly ec: KeyObject };
}

export async function makePool(): Promise<Pool> {
  const owner = await makeOwner();
  const partitionKey = rsa();
  const certificates = toPem(await makePartition(owner, partitionKey)) + toPem(owner.certificate);
  return { owner, partitionKey, certificates, keys: { rsa: rsa(), ec: p256() } };
}

export type Kind = 'rsa' | 'ec' | 'oct';

/** What the slot would say of its key. */
export function attestedOf({ keys }: Pool, kind: Kind): { privateKey: Attested; publicKey?: Attested } {
  const common = { label: 'customer_key', id: ID };
  const guarded = { ...common, sensitive: true, extractable: true, local: false, wrapWithTrusted: true };
  if (kind === 'oct') return { privateKey: { ...guarded, class: 4, keyType: 0x1f, encrypt: true } };
  const { n, e, x, y } = createPublicKey(keys[kind].export({ type: 'pkcs8', format: 'pem' })).export({
    format: 'jwk',
  });
  const bytes = (member = '') => Buffer.from(member, 'base64url');
  const half =
    kind === 'rsa'
      ? { keyType: 0, modulus: bytes(n), publicExponent: bytes(e) }
      : {
          keyType: 3,
          ecParams: Buffer.from('06082a8648ce3d030107', 'hex'),
          ecPoint: Buffer.concat([Buffer.of(4, 65, 4), bytes(x), bytes(y)]),
        };
  const publicKeySha256 = createHash('sha256').update(spki(keys[kind])).digest();
  const { keyType } = half;
  const privateHalf = kind === 'rsa' ? half : { keyType };
  return {
    privateKey: { ...guarded, ...privateHalf, class: 3, sign: true, publicKeySha256 },
    publicKey: { ...common, ...half, class: 2, verify: true },
  };
}

/** A sound bundle. */
export function makeBundle(pool: Pool, kind: Kind): Bundle {
  const { privateKey, publicKey } = attestedOf(pool, kind);
  const kid = `https://dev.managedhsm.localhost:9443${ID}`;
  return {
    key: { kid, ...jwkOf(pool, kind) },
    attributes: {
      enabled: true,
      attestation: {
        certificatePemFile: base64url(pool.certificates),
        privateKeyAttestation: base64url(blobOf(privateKey, pool.partitionKey)),
        ...(publicKey && { publicKeyAttestation: base64url(blobOf(publicKey, pool.partitionKey)) }),
        version: 'TRIVET-1',
      },
    },
  };
}

function jwkOf({ keys }: Pool, kind: Kind): { kty: string } & Record<string, string> {
  if (kind === 'oct') return { kty: 'oct-HSM' };
  const { n = '', e = '', x = '', y = '' } = keys[kind].export({ format: 'jwk' });
  return kind === 'rsa' ? { kty: 'RSA-HSM', n, e } : { kty: 'EC-HSM', crv: 'P-256', x, y };
}
