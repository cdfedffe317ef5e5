// Restore a key from its backup: name, versions, attributes, tags and policies are what they were.
import { newUuid } from '../../values/ids.js';
import { versionId } from '../model/keys/records.js';
import type { Caller } from '../model/rbac/records.js';
import type { Hsm } from './hsm.js';
import { openBackup } from './key-backup.js';
import { keyView, poolOf, versionPut, type KeyView } from './key-view.js';
import { allow, settledRead } from './reading.js';

// Which key it is only the backup says, and a backup is opened for nobody who may not restore.
const SCOPE = '/keys';

const ACTION = 'keys/restore/action';

/** Refuses whoever may not restore. */
export function mayRestore(hsm: Hsm, caller: Caller): void | Promise<void> {
  return settledRead(hsm, caller, undefined, () => void allow(hsm, caller, ACTION, SCOPE));
}

/** Answers with the newest version. Refused while the name is taken, by a deleted key too. */
export async function restoreKey(hsm: Hsm, caller: Caller, backup: string): Promise<KeyView> {
  await mayRestore(hsm, caller);
  const { name, versions, rotation } = await openBackup(hsm, backup);
  const committed = await hsm.submit({
    kind: 'KeyRestored',
    id: newUuid(),
    time: hsm.now(),
    authority: { caller, action: ACTION, scope: SCOPE },
    name,
    versions,
    ...(rotation === undefined ? {} : { rotation }),
  });
  const newest = versionId(name, versions.at(-1)?.version ?? '');
  return keyView(versionPut(committed, newest), poolOf(hsm.state));
}
