// Restore another pool's security domain into this one, which waits for its own: the answer comes when every instance
// holds it.
import { assert } from '../../values/assert.js';
import { newUuid } from '../../values/ids.js';
import { noTransferKey } from '../model/activation.js';
import { TRANSFER } from '../model/pool.js';
import type { Caller } from '../model/rbac/records.js';
import { RefusedError } from '../model/refusal.js';
import { wipeContents } from './domain-items.js';
import { allowInactive } from './domain-rights.js';
import type { Hsm } from './hsm.js';
import { refuse, settledRead } from './reading.js';
import { openUpload, refuseActive } from './transfer-key.js';

const ACTION = 'securitydomain/upload/action';

/** Takes a restore blob, as JSON or base64url of it. */
export async function uploadDomain(hsm: Hsm, caller: Caller, blob: string): Promise<void> {
  const transfer = await settledRead(hsm, caller, undefined, () => {
    refuseActive(allowInactive(hsm, caller, ACTION));
    return hsm.state.get('internal', TRANSFER);
  });
  if (!transfer) throw new RefusedError(noTransferKey());
  const issuer = hsm.state.get('internal', 'tls-issuer');
  assert(issuer !== undefined, 'a founded pool has its issuing key');
  const contents = await openUpload(hsm.partition, transfer, blob);
  try {
    const [sealed] = await hsm.domains
      .rewrap(contents.domainKey, [issuer.sealed])
      .catch(() => refuse('DomainUnusable', 'The restore blob holds a data-wrapping key that does not open'));
    assert(sealed !== undefined, 'as many keys come back as were given');
    await hsm.submit({
      kind: 'DomainRestored',
      id: newUuid(),
      time: hsm.now(),
      authority: { caller, action: ACTION, scope: '/' },
      securityDomain: newUuid(),
      blob,
      internal: { ...contents.keys, 'tls-issuer': { ...issuer, sealed } },
    });
  } finally {
    wipeContents(contents);
  }
}
