// Who signs released keys: an internal key of the pool, the same for every instance, with a certificate under the
// pool's TLS root that is made anew by each instance when it is needed.
import { createHash } from 'node:crypto';
import { assert } from '../../values/assert.js';
import { issueCertificate, keyIdOf } from '../../values/certificate.js';
import { DAY } from '../../values/moments.js';
import { issuerName, signWith, spkiOf } from './found.js';
import type { Hsm } from './hsm.js';
import { poolOf } from './key-view.js';
import type { ReleaseSigner } from './released-key.js';

const VALID_MS = 90 * DAY * 1000;
const RENEWED_MS = 60 * DAY * 1000;
/** Clients with a clock somewhat behind are common. */
const BACKDATED_MS = 3_600_000;

interface Made {
  readonly time: number;
  readonly chain: Promise<readonly Buffer[]>;
}

const made = new WeakMap<Hsm, Made>();

/** By the machine's clock: whoever checks the certificate goes by its own. */
export async function releaseSigner(hsm: Hsm): Promise<ReleaseSigner> {
  const key = hsm.state.get('internal', 'release-signer')?.sealed;
  assert(key !== undefined, 'a founded pool has its release signer');
  const now = Date.now();
  let current = made.get(hsm);
  if (!current || now - current.time > RENEWED_MS) {
    current = { time: now, chain: issueChain(hsm, now) };
    made.set(hsm, current);
    current.chain.catch(() => made.delete(hsm));
  }
  return {
    chain: await current.chain,
    sign: (data) => hsm.partition.sign(key, 'RS256', createHash('sha256').update(data).digest()),
  };
}

async function issueChain(hsm: Hsm, now: number): Promise<readonly Buffer[]> {
  const { name } = poolOf(hsm.state);
  const issuer = hsm.state.get('internal', 'tls-issuer');
  const key = hsm.state.get('internal', 'release-signer');
  assert(issuer?.certificate !== undefined && key !== undefined, 'a founded pool has its keys');
  const leaf = await issueCertificate({
    subject: { commonName: `Trivet pool ${name} release` },
    issuer: issuerName(name),
    publicKey: spkiOf(key.sealed),
    notBefore: new Date(now - BACKDATED_MS),
    notAfter: new Date(now + VALID_MS),
    authority: false,
    authorityKeyId: keyIdOf(spkiOf(issuer.sealed)),
    sign: signWith(hsm.partition, issuer.sealed),
  });
  return [leaf, Buffer.from(issuer.certificate)];
}
