// List role assignments: those that hold at a scope, or those of one principal.
import { assignmentsAt } from '../model/rbac/assign.js';
import { covers } from '../model/rbac/permit.js';
import type { Caller, Scope } from '../model/rbac/records.js';
import type { State } from '../model/state.js';
import type { Hsm } from './hsm.js';
import { allow, settledRead } from './reading.js';
import { assignmentView, type AssignmentView, type RoleScope } from './role-view.js';

/**
 * Without a principal: what is assigned at the scope and at those that cover it, and nothing of narrower scopes. With
 * one (GUID in lower case): what she is assigned at, above and below the scope.
 */
export function listRoleAssignments(
  hsm: Hsm,
  caller: Caller,
  scope: RoleScope,
  principalId?: string,
): AssignmentView[] | Promise<AssignmentView[]> {
  return settledRead(hsm, caller, 'assignments', () => {
    allow(hsm, caller, 'roleAssignments/read/action', scope);
    const { state } = hsm;
    const found =
      principalId === undefined
        ? covering(scope).flatMap((at) => assignmentsAt(state, at))
        : scopesOf(state, principalId)
            .filter((at) => covers(at, scope) || covers(scope, at))
            .flatMap((at) => assignmentsAt(state, at))
            .filter((assignment) => assignment.principalId === principalId);
    return found.map(assignmentView);
  });
}

/** The scope and those above it, widest first. */
function covering(scope: Scope): Scope[] {
  const above: Scope[] = ['/', '/keys'];
  return [...above.filter((wide) => wide !== scope && covers(wide, scope)), scope];
}

function scopesOf(state: State, principalId: string): Scope[] {
  return [...new Set(state.get('grants', principalId)?.grants.map(({ scope }) => scope))];
}
