// Assign a role to a principal. The right is asked for at the scope of the assignment, so that who may assign at one
// key can assign at that key only. Who may assign at `/` can assign any role to anybody, herself included: the service
// has it so, and its documentation warns of it.
import { newUuid } from '../../values/ids.js';
import type { Assignment, Caller } from '../model/rbac/records.js';
import { actionsOf } from '../model/rbac/definitions.js';
import type { Hsm } from './hsm.js';
import { allow, refuse, settledRead } from './reading.js';
import { assignmentView, type AssignmentView } from './role-view.js';

/** GUIDs in lower case. */
export type CreateRoleAssignment = AssignmentView;

export async function createRoleAssignment(
  hsm: Hsm,
  caller: Caller,
  wish: CreateRoleAssignment,
): Promise<AssignmentView> {
  const assignment: Assignment = assignmentView(wish);
  const { scope } = assignment;
  const action = 'roleAssignments/write/action';
  await settledRead(hsm, caller, 'assignments', () => {
    allow(hsm, caller, action, scope);
    if (hsm.state.get('assignments', assignment.name)) refuse('RoleAssignmentExists', assignment.name);
    if (!actionsOf(hsm.state, assignment.roleDefinitionId)) {
      refuse('RoleDefinitionNotFound', assignment.roleDefinitionId);
    }
  });
  const authority = { caller, action, scope } as const;
  await hsm.submit({ kind: 'RoleAssignmentCreated', id: newUuid(), time: hsm.now(), authority, assignment });
  return assignment;
}
