// The security-domain calls of a pool, made like any customer makes them.
import type { CertificateSet } from '../../security-domain/certificates.js';
import { member, type PoolClient } from '../ask.js';
import { CommandError } from '../failure.js';
import { withProgress } from '../progress.js';

const VERSION = 'api-version=7.5';
const LOOK_MS = 200;
const LOOKS = 300;

/** Downloads the file for these custodians; activates a pool that waits for it. */
export async function downloadDomain(
  pool: PoolClient,
  { certificates, quorum }: CertificateSet,
): Promise<string> {
  const answer = await pool.call('POST', `/securitydomain/download?${VERSION}`, {
    certificates: certificates.map(({ der, publicKey, thumbprint }) => {
      const { n, e } = publicKey.export({ format: 'jwk' });
      return {
        kty: 'RSA',
        alg: 'RSA-OAEP-256',
        key_ops: ['verify', 'encrypt', 'wrapKey'],
        n,
        e,
        x5c: [der.toString('base64')],
        'x5t#S256': thumbprint,
      };
    }),
    required: quorum.required,
  });
  const file = member(answer, 'value');
  if (file === undefined) throw new CommandError(`pool ${pool.name} answered without a file`);
  await untilDone(pool, 'download');
  return file;
}

/** The exchange certificate, DER. */
export async function fetchExchangeCertificate(pool: PoolClient): Promise<Buffer> {
  const answer = await pool.call('GET', `/securitydomain/upload?${VERSION}`);
  const text = member(answer, 'transfer_key') ?? '{}';
  const { x5c } = JSON.parse(text) as { readonly x5c?: readonly string[] };
  if (x5c?.[0] === undefined) throw new CommandError(`pool ${pool.name} answered without a certificate`);
  return Buffer.from(x5c[0], 'base64');
}

/** Sends in a restore blob, and waits until the pool has the domain. */
export async function uploadDomain(pool: PoolClient, blob: string): Promise<void> {
  await pool.call('POST', `/securitydomain/upload?${VERSION}`, { value: blob });
  await untilDone(pool, 'upload');
}

function untilDone(pool: PoolClient, what: 'download' | 'upload'): Promise<void> {
  return withProgress(`waiting for the ${what}`, undefined, () => lookUntilDone(pool, what));
}

async function lookUntilDone(pool: PoolClient, what: 'download' | 'upload'): Promise<void> {
  for (let look = 0; look < LOOKS; look += 1) {
    const answer = await pool.call('GET', `/securitydomain/${what}/pending?${VERSION}`);
    const status = member(answer, 'status');
    if (status === 'Success') return;
    if (status === 'Failed') {
      throw new CommandError(
        `the ${what} has failed: ${member(answer, 'status_details') ?? 'no reason given'}`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  throw new CommandError(`the ${what} does not end`);
}
