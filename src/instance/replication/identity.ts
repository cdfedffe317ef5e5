// What a member shows on its links: a key of its own, made at first start, with a self-signed certificate. It says only
// that two connections are with the same one: who that is, the fabric says, and whether it may take part, its evidence.
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { issueCertificate, toPem } from '../../values/certificate.js';
import { writeDurably } from '../../values/durable-file.js';
import type { Identity } from './mesh.js';

/** Known by itself and not by its date, so its end would only be an outage: as long as any pool. */
const VALID_YEARS = 50;

/** The identity in `directory`, made when there is none. `key` stays in a file of mode 0600. */
export async function ownIdentity(directory: string, pool: string, instance: number): Promise<Identity> {
  const path = join(directory, 'identity.json');
  if (existsSync(path)) return JSON.parse(readFileSync(path, 'utf8')) as Identity;
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const name = { commonName: `${pool} instance ${instance}` };
  const notBefore = new Date();
  const notAfter = new Date(notBefore);
  notAfter.setUTCFullYear(notAfter.getUTCFullYear() + VALID_YEARS);
  const certificate = await issueCertificate({
    subject: name,
    issuer: name,
    publicKey: createPublicKey(createPrivateKey(key)).export({ type: 'spki', format: 'der' }),
    notBefore,
    notAfter,
    authority: false,
    usages: ['serverAuth', 'clientAuth'],
    sign: (toBeSigned) => sign('sha256', toBeSigned, privateKey),
  });
  const identity: Identity = { certificate: toPem(certificate), key };
  writeDurably(path, JSON.stringify(identity), 0o600);
  return identity;
}
