// Of what kind the key is that a request is about: for who paces operations by it. Nothing is judged here; a request
// whose key there is not is about none.
import type { KeySpec } from '../../values/key-spec.js';
import { keySpecOf } from '../hsm/key-spec-of.js';
import type { Call } from './call.js';

export function keySpecFor({ hsm, name, version }: Call): KeySpec | undefined {
  return name === '' ? undefined : keySpecOf(hsm.state, name, version);
}
