// The certificate of this partition's own key, issued by the pool's owner key in this very slot when it is first
// needed, and kept in memory only: another start makes another.
import { createHash, X509Certificate } from 'node:crypto';
import { assert } from '../../values/assert.js';
import { issueCertificate, keyIdOf, toPem } from '../../values/certificate.js';
import { publicKeyOf } from '../../values/public-key.js';
import { poolOf } from './key-view.js';
import { ownerName, signWith, spkiOf } from './found.js';
import type { Hsm } from './hsm.js';

interface Issued {
  readonly owner: Uint8Array;
  readonly pem: Promise<string>;
}

const issued = new WeakMap<Hsm['partition'], Issued>();

/** PEM: the partition's certificate, then the owner's. */
export function partitionCertificates(hsm: Hsm): Promise<string> {
  const owner = ownerCertificate(hsm);
  const known = issued.get(hsm.partition);
  if (known && Buffer.compare(known.owner, owner) === 0) return known.pem;
  const made = { owner, pem: issue(hsm, owner) };
  issued.set(hsm.partition, made);
  // A slot that failed once is asked again by the next who needs it.
  made.pem.catch(() => issued.delete(hsm.partition));
  return made.pem;
}

/** DER of the self-signed certificate of the pool's owner. */
export function ownerCertificate({ state }: Pick<Hsm, 'state'>): Uint8Array {
  const certificate = state.get('internal', 'owner')?.certificate;
  assert(certificate !== undefined, 'a founded pool has its owner key');
  return certificate;
}

/** SHA-256 of it, in lower-case hex: by this its customers know the pool's owner. */
export function ownerFingerprint(hsm: Pick<Hsm, 'state'>): string {
  return createHash('sha256').update(ownerCertificate(hsm)).digest('hex');
}

/** Name of a partition of the pool. */
function partitionName(pool: string, instance: number): { commonName: string } {
  return { commonName: `Trivet pool ${pool} partition ${instance}` };
}

async function issue(hsm: Hsm, ownerDer: Uint8Array): Promise<string> {
  const { partition, state, instance } = hsm;
  const owner = state.get('internal', 'owner');
  assert(owner !== undefined, 'a founded pool has its owner key');
  const { name } = poolOf(state);
  const part = await partition.attestationKey();
  assert(part.kty === 'RSA', 'a partition signs with RSA');
  // As long as its issuer: an attestation that somebody keeps is not to run out with a certificate.
  const { validFrom, validTo } = new X509Certificate(ownerDer);
  const certificate = await issueCertificate({
    subject: partitionName(name, instance),
    issuer: ownerName(name),
    publicKey: publicKeyOf(part).export({ type: 'spki', format: 'der' }),
    notBefore: new Date(validFrom),
    notAfter: new Date(validTo),
    authority: false,
    authorityKeyId: keyIdOf(spkiOf(owner.sealed)),
    sign: signWith(partition, owner.sealed),
  });
  return toPem(certificate) + toPem(ownerDer);
}
