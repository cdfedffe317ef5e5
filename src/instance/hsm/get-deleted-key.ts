// Show a deleted key: its newest version and when it will be purged.
import type { Caller } from '../model/rbac/records.js';
import type { Hsm } from './hsm.js';
import { deletionView, keyView, type DeletedKeyView } from './key-view.js';
import { allow, deletedKey, keyScope, newestVersion, settledRead } from './reading.js';

/** Reads what only recovery or purge can change. */
export function getDeletedKey(
  hsm: Hsm,
  caller: Caller,
  name: string,
): DeletedKeyView | Promise<DeletedKeyView> {
  return settledRead(hsm, caller, `key:${name}`, () => {
    const pool = allow(hsm, caller, 'keys/deletedKeys/read/action', keyScope(name));
    const key = deletedKey(hsm.state, name);
    return { ...keyView(newestVersion(hsm.state, key), pool), ...deletionView(key) };
  });
}
