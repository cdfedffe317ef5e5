// May this caller do this here? Denied unless a role says otherwise.
import { Refusal } from '../refusal.js';
import type { State } from '../state.js';
import { ACTION_PREFIX, type DataAction } from './built-in-roles.js';
import { actionsOf } from './definitions.js';
import type { Caller, Grants, Scope } from './records.js';

/** True if a grant at `wide` also holds at `narrow`. */
export function covers(wide: Scope, narrow: Scope): boolean {
  if (wide === '/' || wide === narrow) return true;
  return wide === '/keys' && narrow.startsWith('/keys/');
}

/** Undefined if permitted, else the refusal. */
export function permit(state: State, caller: Caller, action: DataAction, scope: Scope): Refusal | undefined {
  if (holds(state, caller.objectId, action, scope)) return undefined;
  for (const group of caller.groups) if (holds(state, group, action, scope)) return undefined;
  return notPermitted(action, scope);
}

export function notPermitted(action: DataAction, scope: Scope): Refusal {
  return new Refusal('NotPermitted', `${ACTION_PREFIX}${action} on ${scope}`);
}

function holds(state: State, principalId: string, action: DataAction, scope: Scope): boolean {
  const held = state.get('grants', principalId);
  if (!held) return false;
  const roles = rolesByScope(held);
  const at = (wide: Scope): boolean =>
    roles.get(wide)?.some((role) => actionsOf(state, role)?.has(action) === true) === true;
  return at('/') || (scope !== '/' && (at('/keys') || (scope !== '/keys' && at(scope))));
}

// Who holds a role at each of a thousand keys asks about one at a time. Records are never changed in place.
const indexes = new WeakMap<Grants, ReadonlyMap<Scope, readonly string[]>>();

function rolesByScope(held: Grants): ReadonlyMap<Scope, readonly string[]> {
  let index = indexes.get(held);
  if (!index) {
    const roles = new Map<Scope, string[]>();
    for (const { scope, roleDefinitionId } of held.grants) {
      const there = roles.get(scope);
      if (there) there.push(roleDefinitionId);
      else roles.set(scope, [roleDefinitionId]);
    }
    index = roles;
    indexes.set(held, index);
  }
  return index;
}
