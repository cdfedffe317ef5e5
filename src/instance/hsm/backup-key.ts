// Back up a key with all its versions, attributes, tags and policies.
import type { Caller } from '../model/rbac/records.js';
import type { Hsm } from './hsm.js';
import { sealBackup } from './key-backup.js';
import { allow, keyScope, liveKey, liveVersion, settledRead } from './reading.js';

/** A compact JWE that only a pool with this one's security domain can read. */
export async function backupKey(hsm: Hsm, caller: Caller, name: string): Promise<string> {
  const { key, versions } = await settledRead(hsm, caller, `key:${name}`, () => {
    allow(hsm, caller, 'keys/backup/action', keyScope(name));
    const found = liveKey(hsm.state, name);
    return {
      key: found,
      versions: found.versions.map((version) => liveVersion(hsm.state, name, version)),
    };
  });
  return sealBackup(hsm, key, versions);
}
