// Founding a pool: its first mutation, made by the primary as soon as every member is in sync. Makes the pool's own
// keys in the slot, sealed under the data-wrapping key like any other.
import { createHash } from 'node:crypto';
import { newUuid } from '../../values/ids.js';
import { ecdsaRawToDer, issueCertificate, type CertificateRequest } from '../../values/certificate.js';
import type { KeySpec, SealedKey } from '../../values/key-spec.js';
import type { Founding, TrustedInstances } from '../../values/messages.js';
import { publicKeyOf } from '../../values/public-key.js';
import { internalId, POOL, type InternalKey, type InternalPurpose } from '../model/pool.js';
import { isHostKey } from '../model/trust.js';
import type { Partition } from '../partition/partition.js';
import type { Hsm } from './hsm.js';
import { checkAttestors, checkIssuers } from './issuer-metadata.js';
import { refuse } from './reading.js';

const ROOT_YEARS = 30;

/**
 * Makes the pool's own keys and submits `PoolFounded`, unless the pool is founded already.
 * @param domain suffix of host names.
 * @param securityDomain id of the domain whose token every member has.
 */
export async function foundPool(
  hsm: Hsm,
  pool: string,
  domain: string,
  securityDomain: string,
  founding: Founding,
): Promise<void> {
  if (hsm.state.get('pool', POOL) !== undefined) return;
  checkAttestors(founding.attestors ?? []);
  checkIssuers(founding.issuers);
  await hsm.submit({
    kind: 'PoolFounded',
    id: newUuid(),
    time: hsm.now(),
    pool,
    founding: { ...founding, trust: trustFrom(founding, hsm.attested.measurement) },
    securityDomain,
    // By the machine's clock: clients check certificates by theirs, wherever the pool's was moved.
    internal: await makeInternalKeys(hsm.partition, pool, domain, new Date()),
    assignmentIds: Array.from(
      { length: founding.administrators.length + 2 * founding.cryptoUsers.length },
      newUuid,
    ),
  });
}

/** What the founder runs is what may run. */
function trustFrom({ trust }: Founding, measurement: string): TrustedInstances {
  const hosts = trust?.hosts ?? [];
  if (!hosts.every(isHostKey)) refuse('BadParameter', 'A host is enrolled by its Ed25519 key');
  return { hosts, measurements: [...new Set([...(trust?.measurements ?? []), measurement])] };
}

async function makeInternalKeys(
  partition: Partition,
  pool: string,
  domain: string,
  now: Date,
): Promise<Record<InternalPurpose, InternalKey>> {
  const make = (purpose: InternalPurpose, spec: KeySpec) => partition.generate(internalId(purpose), spec);
  // RSA takes longest: its generation runs beside all the rest.
  const releaseSigner = make('release-signer', { kty: 'RSA-HSM', size: 2048, exponent: 65_537 });
  const p256: KeySpec = { kty: 'EC-HSM', curve: 'P-256' };
  const [tlsIssuer, owner, backup, exporting] = await Promise.all([
    make('tls-issuer', p256),
    make('owner', p256),
    make('backup-protection', { kty: 'oct-HSM', size: 512 }),
    make('export-wrapping', { kty: 'oct-HSM', size: 256 }),
  ]);
  // Whoever trusts the TLS root trusts it for the pool's own names only.
  const permittedNames = { dns: [`${pool}.${domain}`, 'localhost'], ip: ['127.0.0.0/8', '::1/128'] };
  return {
    'tls-issuer': await rootOf(partition, tlsIssuer, issuerName(pool), now, { permittedNames }),
    owner: await rootOf(partition, owner, ownerName(pool), now, {}),
    'backup-protection': { sealed: backup },
    'export-wrapping': { sealed: exporting },
    'release-signer': { sealed: await releaseSigner },
  };
}

/** The key with a self-signed certificate that lets it certify leaves. */
async function rootOf(
  partition: Partition,
  sealed: SealedKey,
  name: { commonName: string },
  now: Date,
  limits: Pick<CertificateRequest, 'permittedNames'>,
): Promise<InternalKey> {
  const notAfter = new Date(now);
  notAfter.setUTCFullYear(notAfter.getUTCFullYear() + ROOT_YEARS);
  const certificate = await issueCertificate({
    subject: name,
    issuer: name,
    publicKey: spkiOf(sealed),
    notBefore: now,
    notAfter,
    authority: true,
    pathLength: 0,
    ...limits,
    sign: signWith(partition, sealed),
  });
  return { sealed, certificate };
}

/** Name of the pool's TLS root. */
export function issuerName(pool: string): { commonName: string } {
  return { commonName: `Trivet pool ${pool} TLS root` };
}

/** Name of the pool's owner, who certifies partitions. */
export function ownerName(pool: string): { commonName: string } {
  return { commonName: `Trivet pool ${pool} owner` };
}

/** SubjectPublicKeyInfo of an internal key. */
export function spkiOf({ id, public: part }: SealedKey): Buffer {
  if (part.kty === 'oct') throw new TypeError(`${id} has no public key`);
  return publicKeyOf(part).export({ type: 'spki', format: 'der' });
}

/** ECDSA P-256 with SHA-256 by an internal key, inside the slot. */
export function signWith(partition: Partition, key: SealedKey): (data: Buffer) => Promise<Buffer> {
  return async (data) =>
    ecdsaRawToDer(await partition.sign(key, 'ES256', createHash('sha256').update(data).digest()));
}
