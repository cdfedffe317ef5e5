// Get one role assignment.
import type { Caller } from '../model/rbac/records.js';
import type { Hsm } from './hsm.js';
import { allow, settledRead } from './reading.js';
import { assignmentWithin, assignmentView, type AssignmentView, type RoleScope } from './role-view.js';

/** `name` in lower case; found if it is assigned at the scope or below. */
export function getRoleAssignment(
  hsm: Hsm,
  caller: Caller,
  scope: RoleScope,
  name: string,
): AssignmentView | Promise<AssignmentView> {
  return settledRead(hsm, caller, 'assignments', () => {
    allow(hsm, caller, 'roleAssignments/read/action', scope);
    return assignmentView(assignmentWithin(hsm.state, scope, name));
  });
}
