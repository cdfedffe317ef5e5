// Which names can be given to a key.
import { Refusal } from '../refusal.js';
import type { State } from '../state.js';
import { MAX_KEYS } from './limits.js';

/** Why a name cannot be given to a key that is not there yet. */
export function nameTaken(state: State, name: string): Refusal | undefined {
  if (state.get('deleted', name)) return new Refusal('NameHeldByDeletedKey', name);
  if (state.count('keys') + state.count('deleted') >= MAX_KEYS) {
    return new Refusal('TooManyKeys', `the pool holds ${MAX_KEYS} keys, deleted ones included`);
  }
  return undefined;
}
