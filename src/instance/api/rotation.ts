// Handlers of rotation.
import { rotateKey } from '../hsm/rotate-key.js';
import { getRotationPolicy, setRotationPolicy } from '../hsm/rotation-policy.js';
import type { PolicyBody } from './bodies.js';
import { whenDone, type Answer, type Call } from './call.js';
import { keyBundle, rotationPolicy } from './shapes.js';
import { policyWish } from './wishes.js';

/** `POST /keys/{name}/rotate`: the KeyBundle of the new version. */
export async function rotate({ hsm, caller, base, name, query }: Call): Promise<string> {
  return keyBundle(base, query, await rotateKey(hsm, caller, name));
}

/** `GET /keys/{name}/rotationpolicy`: a RotationPolicy. */
export function getPolicy({ hsm, caller, name }: Call): Answer {
  return whenDone(getRotationPolicy(hsm, caller, name), (policy) => rotationPolicy(name, policy));
}

/** `PUT /keys/{name}/rotationpolicy`: the policy as it is now, blank when it was removed. */
export async function setPolicy({ hsm, caller, name }: Call, body: PolicyBody): Promise<string> {
  return rotationPolicy(name, await setRotationPolicy(hsm, caller, name, policyWish(body)));
}
