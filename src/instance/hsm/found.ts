// Founding a pool: its first mutation, made by the primary as soon as every member is in sync. Makes the key that
// issues the data plane's certificates; it is an internal key like any other, sealed under the data-wrapping key.
import { createHash } from 'node:crypto';
import { newUuid } from '../../values/ids.js';
import { ecdsaRawToDer, issueCertificate } from '../../values/certificate.js';
import type { SealedKey } from '../../values/key-spec.js';
import type { Founding } from '../../values/messages.js';
import { publicKeyOf } from '../../values/public-key.js';
import { POOL, TLS_ISSUER, type InternalKey } from '../model/pool.js';
import type { Partition } from '../partition/partition.js';
import type { Hsm } from './hsm.js';

const ROOT_YEARS = 30;

/** Makes the TLS issuing key and submits `PoolFounded`, unless the pool is founded already. */
export async function foundPool(hsm: Hsm, pool: string, domain: string, founding: Founding): Promise<void> {
  if (hsm.state.get('pool', POOL) !== undefined) return;
  const time = hsm.now();
  await hsm.submit({
    kind: 'PoolFounded',
    id: newUuid(),
    time,
    pool,
    founding,
    tlsIssuer: await makeTlsIssuer(hsm.partition, pool, domain, new Date(time * 1000)),
    assignmentIds: Array.from(
      { length: founding.administrators.length + 2 * founding.cryptoUsers.length },
      newUuid,
    ),
  });
}

async function makeTlsIssuer(
  partition: Partition,
  pool: string,
  domain: string,
  now: Date,
): Promise<InternalKey> {
  const sealed = await partition.generate(`internal/${TLS_ISSUER}`, { kty: 'EC-HSM', curve: 'P-256' });
  const name = issuerName(pool);
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
    // Whoever trusts this root trusts it for the pool's own names only.
    permittedNames: { dns: [`${pool}.${domain}`, 'localhost'], ip: ['127.0.0.0/8', '::1/128'] },
    sign: signWith(partition, sealed),
  });
  return { sealed, certificate };
}

/** Name of the pool's TLS root. */
export function issuerName(pool: string): { commonName: string } {
  return { commonName: `Trivet pool ${pool} TLS root` };
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
