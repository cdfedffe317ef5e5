// Purge a deleted key: it is gone for good, except from backups.
import { newUuid } from '../../values/ids.js';
import type { Caller } from '../model/rbac/records.js';
import type { Hsm } from './hsm.js';
import { allow, deletedKey, keyScope, settledRead } from './reading.js';

/** Resolves when no member holds the key any more. */
export async function purgeKey(hsm: Hsm, caller: Caller, name: string): Promise<void> {
  const scope = keyScope(name);
  const action = 'keys/deletedKeys/delete';
  await settledRead(hsm, caller, `key:${name}`, () => {
    allow(hsm, caller, action, scope);
    deletedKey(hsm.state, name);
  });
  await hsm.submit({
    kind: 'KeyPurged',
    id: newUuid(),
    time: hsm.now(),
    authority: { caller, action, scope },
    name,
  });
}
