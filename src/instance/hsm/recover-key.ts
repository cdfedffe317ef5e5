// Recover a deleted key with all its versions; attributes and times stay as they were.
import { newUuid } from '../../values/ids.js';
import type { Caller } from '../model/rbac/records.js';
import type { Hsm } from './hsm.js';
import { keyView, poolOf, versionPut, type KeyView } from './key-view.js';
import { allow, deletedKey, keyScope, settledRead } from './reading.js';

/** Answers with the newest version. */
export async function recoverKey(hsm: Hsm, caller: Caller, name: string): Promise<KeyView> {
  const scope = keyScope(name);
  const action = 'keys/deletedKeys/recover/action';
  await settledRead(hsm, caller, `key:${name}`, () => {
    allow(hsm, caller, action, scope);
    deletedKey(hsm.state, name);
  });
  const committed = await hsm.submit({
    kind: 'KeyRecovered',
    id: newUuid(),
    time: hsm.now(),
    authority: { caller, action, scope },
    name,
  });
  return keyView(versionPut(committed), poolOf(hsm.state));
}
