// Download the security domain: the file for these custodians. The first download activates the pool; later ones make
// the same domain anew for other custodians and change nothing.
import { randomBytes } from 'node:crypto';
import { assert } from '../../values/assert.js';
import { newUuid } from '../../values/ids.js';
import { parseCertificateSet } from '../../security-domain/certificates.js';
import { makeSecurityDomain } from '../../security-domain/file.js';
import { wipeItems } from '../../security-domain/items.js';
import { domainPurposes, type InternalKey } from '../model/pool.js';
import type { Caller } from '../model/rbac/records.js';
import { wipeContents, writeItems, type DomainKeys } from './domain-items.js';
import { allowInactive } from './domain-rights.js';
import type { Hsm } from './hsm.js';
import { settledRead } from './reading.js';

const ACTION = 'securitydomain/download/action';

/** Answers with the text of the file. `request` is the body as it came; the certificates in it are checked here. */
export async function downloadDomain(hsm: Hsm, caller: Caller, request: unknown): Promise<string> {
  const { activation } = await settledRead(hsm, caller, undefined, () => allowInactive(hsm, caller, ACTION));
  const set = parseCertificateSet(request);
  const keys = domainKeys(hsm);
  const contents = { domainKey: await hsm.domains.exportKey(), keys };
  const items = writeItems(contents);
  wipeContents(contents);
  let file: string;
  try {
    file = makeSecurityDomain({ set, items, random: randomBytes });
  } finally {
    wipeItems(items);
  }
  // Whoever comes second while the pool waits is refused: what was made for its custodians is nobody's domain.
  if (activation === 'NotActivated') {
    await hsm.submit({
      kind: 'PoolActivated',
      id: newUuid(),
      time: hsm.now(),
      authority: { caller, action: ACTION, scope: '/' },
    });
  }
  return file;
}

function domainKeys({ state }: Hsm): DomainKeys {
  const keys = domainPurposes.map((purpose): [string, InternalKey] => {
    const key = state.get('internal', purpose);
    assert(key !== undefined, 'a founded pool has its keys');
    return [purpose, key];
  });
  return Object.fromEntries(keys) as DomainKeys;
}
