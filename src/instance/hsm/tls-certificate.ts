// The data plane's own certificate: a key pair of this process, kept nowhere, certified by the pool's issuing key in
// the slot.
import { generateKeyPairSync } from 'node:crypto';
import { assert } from '../../values/assert.js';
import { issueCertificate, keyIdOf, toPem } from '../../values/certificate.js';
import { DAY } from '../../values/moments.js';
import { issuerName, signWith, spkiOf } from './found.js';
import type { Hsm } from './hsm.js';

export interface TlsIdentity {
  /** PEM: the leaf, then the root. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
  /** PEM. */
  readonly root: string;
}

/** Before this has run out an instance is expected to have been restarted or to have asked again. */
const TLS_VALID_S = 90 * DAY;
/** Clients with a clock somewhat behind are common. */
const BACKDATED_MS = 3_600_000;

export async function issueTlsIdentity(hsm: Hsm, pool: string, domain: string): Promise<TlsIdentity> {
  const issuer = hsm.state.get('internal', 'tls-issuer');
  assert(issuer?.certificate !== undefined, 'a founded pool has its issuing key');
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const now = Date.now();
  const leaf = await issueCertificate({
    subject: { commonName: `${pool}.${domain}` },
    issuer: issuerName(pool),
    publicKey: publicKey.export({ type: 'spki', format: 'der' }),
    notBefore: new Date(now - BACKDATED_MS),
    notAfter: new Date(now + TLS_VALID_S * 1000),
    names: { dns: [`${pool}.${domain}`, 'localhost'], ip: ['127.0.0.1', '::1'] },
    authority: false,
    usages: ['serverAuth'],
    authorityKeyId: keyIdOf(spkiOf(issuer.sealed)),
    sign: signWith(hsm.partition, issuer.sealed),
  });
  const root = toPem(issuer.certificate);
  return {
    cert: toPem(leaf) + root,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    root,
  };
}
