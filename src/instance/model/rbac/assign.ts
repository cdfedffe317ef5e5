// Adding and removing an assignment, with what follows from it. Judges nothing.
//
// Invariants: an assignment stands in `assignments` by name, in `assignedAt` under its scope, and its role and scope
// among the `grants` of its principal; no principal has the same role twice at one scope. A record that would hold
// nothing is removed.
import { assert } from '../../../values/assert.js';
import { Overlay, put, remove, type Change, type State } from '../state.js';
import type { Assignment } from './records.js';

/** Assignments at exactly this scope. */
export function assignmentsAt(state: State, scope: Assignment['scope']): Assignment[] {
  return (state.get('assignedAt', scope)?.names ?? []).map((name) => {
    const assignment = state.get('assignments', name);
    assert(assignment !== undefined, 'a name under a scope is that of an assignment');
    return assignment;
  });
}

/** True if the principal has the role at exactly this scope. */
export function isAssigned(state: State, { principalId, roleDefinitionId, scope }: Assignment): boolean {
  const held = state.get('grants', principalId)?.grants ?? [];
  return held.some((grant) => grant.roleDefinitionId === roleDefinitionId && grant.scope === scope);
}

export function added(state: State, assignment: Assignment): Change[] {
  const { name, principalId, roleDefinitionId, scope } = assignment;
  const held = state.get('grants', principalId)?.grants ?? [];
  const names = state.get('assignedAt', scope)?.names ?? [];
  return [
    put('assignments', name, { name, principalId, roleDefinitionId, scope }),
    put('grants', principalId, { grants: [...held, { roleDefinitionId, scope }] }),
    put('assignedAt', scope, { names: [...names, name] }),
  ];
}

export function removed(state: State, assignment: Assignment): Change[] {
  const { name, principalId, roleDefinitionId, scope } = assignment;
  const grants = (state.get('grants', principalId)?.grants ?? []).filter(
    (grant) => grant.roleDefinitionId !== roleDefinitionId || grant.scope !== scope,
  );
  const names = (state.get('assignedAt', scope)?.names ?? []).filter((other) => other !== name);
  return [
    remove('assignments', name),
    grants.length === 0 ? remove('grants', principalId) : put('grants', principalId, { grants }),
    names.length === 0 ? remove('assignedAt', scope) : put('assignedAt', scope, { names }),
  ];
}

/**
 * Assignments at `/` for each pair of principal and role, named in order by `names` (GUIDs); a pair that is assigned
 * already is left out. What a pool is founded with.
 */
export function assign(
  state: State,
  wished: (readonly [principalId: string, roleDefinitionId: string])[],
  names: readonly string[],
): Change[] {
  const after = new Overlay(state);
  // Of several changes to one record only the last counts.
  const changes = new Map<string, Change>();
  wished.forEach(([principalId, roleDefinitionId], place) => {
    const name = names[place];
    assert(name !== undefined, 'one name for each assignment');
    const assignment: Assignment = { name, principalId, roleDefinitionId, scope: '/' };
    if (isAssigned(after, assignment)) return;
    for (const change of added(after, assignment)) {
      after.apply([change]);
      changes.set(`${change.table} ${change.id}`, change);
    }
  });
  return [...changes.values()];
}
