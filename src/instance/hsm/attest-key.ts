// Show a key's public side with what the slot of this instance says of it. A disabled key is attested too.
import type { Caller } from '../model/rbac/records.js';
import type { Attestations } from '../partition/attest.js';
import type { Hsm } from './hsm.js';
import { keyView, type KeyView } from './key-view.js';
import { partitionCertificates } from './partition-certificate.js';
import { allow, keyScope, liveVersion, settledRead } from './reading.js';

export interface AttestedKeyView extends Attestations {
  readonly key: KeyView;
  /** PEM: the certificate of the key that signed, then its issuer's, the pool's owner. */
  readonly certificates: string;
}

/** The named version, or the newest. */
export async function attestKey(
  hsm: Hsm,
  caller: Caller,
  name: string,
  version: string | undefined,
): Promise<AttestedKeyView> {
  return settledRead(hsm, caller, `key:${name}`, async () => {
    const pool = allow(hsm, caller, 'keys/read/action', keyScope(name));
    const found = liveVersion(hsm.state, name, version);
    const key = keyView(found, pool);
    const [certificates, attestations] = await Promise.all([
      partitionCertificates(hsm),
      hsm.partition.attest(found),
    ]);
    return { key, certificates, ...attestations };
  });
}
