// Delete a key with all its versions, softly.
import { newUuid } from '../../values/ids.js';
import type { Caller } from '../model/rbac/records.js';
import type { Hsm } from './hsm.js';
import { deletionPut, deletionView, keyView, poolOf, versionPut, type DeletedKeyView } from './key-view.js';
import { allow, keyScope, liveKey, settledRead } from './reading.js';

/** Answers with the newest version. */
export async function deleteKey(hsm: Hsm, caller: Caller, name: string): Promise<DeletedKeyView> {
  const scope = keyScope(name);
  const action = 'keys/delete';
  await settledRead(hsm, caller, `key:${name}`, () => {
    allow(hsm, caller, action, scope);
    liveKey(hsm.state, name);
  });
  const committed = await hsm.submit({
    kind: 'KeyDeleted',
    id: newUuid(),
    time: hsm.now(),
    authority: { caller, action, scope },
    name,
  });
  return {
    ...keyView(versionPut(committed), poolOf(hsm.state)),
    ...deletionView(deletionPut(committed)),
  };
}
