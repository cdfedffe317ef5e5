// May this caller do this here? Denied unless a role says otherwise.
import { Refusal } from '../refusal.js';
import type { State } from '../state.js';
import { ACTION_PREFIX, builtInRoles, type DataAction } from './built-in-roles.js';
import type { Caller, Scope } from './records.js';

const roles = new Map(builtInRoles.map((role) => [role.id, role]));

/** True if a grant at `wide` also holds at `narrow`. */
export function covers(wide: Scope, narrow: Scope): boolean {
  if (wide === '/' || wide === narrow) return true;
  return wide === '/keys' && narrow.startsWith('/keys/');
}

/** Undefined if permitted, else the refusal. */
export function permit(state: State, caller: Caller, action: DataAction, scope: Scope): Refusal | undefined {
  if (holds(state, caller.objectId, action, scope)) return undefined;
  for (const group of caller.groups) if (holds(state, group, action, scope)) return undefined;
  return new Refusal('NotPermitted', `${ACTION_PREFIX}${action} on ${scope}`);
}

function holds(state: State, principalId: string, action: DataAction, scope: Scope): boolean {
  const held = state.get('grants', principalId);
  if (!held) return false;
  return held.grants.some(
    (grant) => covers(grant.scope, scope) && roles.get(grant.roleDefinitionId)?.actions.has(action) === true,
  );
}
