// Create a key unless there is one of its name, as the control plane does it: never a second version, never a change.
import { checkPolicy } from '../model/keys/rotation.js';
import type { Caller } from '../model/rbac/records.js';
import { heed, RefusedError } from '../model/refusal.js';
import { addVersion } from './add-version.js';
import type { CreateKey } from './create-key.js';
import { getKey } from './get-key.js';
import type { Hsm } from './hsm.js';
import type { KeyView } from './key-view.js';
import { allow, keyScope, settledRead } from './reading.js';
import { setRotationPolicy, type PolicyWish } from './rotation-policy.js';

/**
 * The new key, or the one that is there. The rotation policy is a change of its own, which needs the right to update the
 * key; that and what it says are looked at before anything is made.
 */
export async function createKeyIfAbsent(
  hsm: Hsm,
  caller: Caller,
  wish: CreateKey,
  rotation: PolicyWish | undefined,
): Promise<KeyView> {
  const { name, spec, exportable } = wish;
  if (rotation) {
    await settledRead(hsm, caller, `key:${name}`, () => {
      allow(hsm, caller, 'keys/create', keyScope(name));
      if (!hsm.state.get('keys', name)) allow(hsm, caller, 'keys/write/action', keyScope(name));
    });
    heed(checkPolicy(rotation));
  }
  try {
    const made = await addVersion(
      hsm,
      caller,
      'keys/create',
      name,
      spec.kty,
      wish,
      (id) => hsm.partition.generate(id, spec, exportable),
      true,
    );
    if (rotation) await setRotationPolicy(hsm, caller, name, rotation);
    return made;
  } catch (error) {
    if (!(error instanceof RefusedError) || error.refusal.code !== 'KeyExists') throw error;
    return getKey(hsm, caller, name, undefined);
  }
}
