// What a member shows on its links: a key of its own, made at first start, with a self-signed certificate; and the
// certificates of the others, pinned at first sight. Later introductions must show the same.
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { issueCertificate, toPem } from '../../values/certificate.js';
import { writeDurably } from '../../values/durable-file.js';
import type { Peer } from '../../values/messages.js';
import type { Identity } from './mesh.js';

/** Pinned, so its end would only be an outage: as long as any pool. */
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

/**
 * Pins the members at the first start; afterwards sees that they are the same.
 * @throws when the fabric introduces somebody else.
 */
export function pinMembers(directory: string, peers: readonly Peer[]): void {
  const path = join(directory, 'members.json');
  const shown = Object.fromEntries(peers.map(({ instance, certificate }) => [String(instance), certificate]));
  if (!existsSync(path)) {
    writeDurably(path, JSON.stringify(shown), 0o600);
    return;
  }
  const pinned = JSON.parse(readFileSync(path, 'utf8')) as Record<string, string>;
  for (const [instance, certificate] of Object.entries(shown)) {
    if (pinned[instance] !== certificate)
      throw new Error(`instance ${instance} shows another certificate than the one pinned`);
  }
}
