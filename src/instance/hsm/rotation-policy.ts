// Read and set the rotation policy of a key.
import { newUuid } from '../../values/ids.js';
import { checkPolicy, type PolicyWish, type RotationPolicy } from '../model/keys/rotation.js';
import type { Caller } from '../model/rbac/records.js';
import { heed } from '../model/refusal.js';
import type { Hsm } from './hsm.js';
import { allow, keyScope, liveKey, refuse, settledRead } from './reading.js';

export type { PolicyWish, RotationPolicy };

/** The policy; refused where none is set. */
export function getRotationPolicy(
  hsm: Hsm,
  caller: Caller,
  name: string,
): RotationPolicy | Promise<RotationPolicy> {
  return settledRead(hsm, caller, `key:${name}`, () => {
    allow(hsm, caller, 'keys/read/action', keyScope(name));
    const { rotation } = hsm.state.get('keys', name) ?? {};
    return rotation ?? refuse('RotationPolicyNotFound', `keys/${name}/rotationpolicy`);
  });
}

/** Sets the policy, or removes it when it is blank: then there is nothing to answer with. */
export async function setRotationPolicy(
  hsm: Hsm,
  caller: Caller,
  name: string,
  policy: PolicyWish,
): Promise<RotationPolicy | undefined> {
  const scope = keyScope(name);
  const action = 'keys/write/action';
  await settledRead(hsm, caller, `key:${name}`, () => {
    allow(hsm, caller, action, scope);
    liveKey(hsm.state, name);
  });
  heed(checkPolicy(policy));
  const { changes } = await hsm.submit({
    kind: 'RotationPolicySet',
    id: newUuid(),
    time: hsm.now(),
    authority: { caller, action, scope },
    name,
    policy,
  });
  for (const change of changes) {
    if (change.table === 'keys' && change.value !== null) return change.value.rotation;
  }
  return undefined;
}
