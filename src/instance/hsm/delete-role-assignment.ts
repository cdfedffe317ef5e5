// Take a role back from a principal. Answered once no instance honours it any more.
import { newUuid } from '../../values/ids.js';
import type { Caller } from '../model/rbac/records.js';
import type { Hsm } from './hsm.js';
import { allow, settledRead } from './reading.js';
import { assignmentWithin, assignmentView, type AssignmentView, type RoleScope } from './role-view.js';

/** `name` in lower case; found if it is assigned at the scope or below. Answers with what is no more. */
export async function deleteRoleAssignment(
  hsm: Hsm,
  caller: Caller,
  scope: RoleScope,
  name: string,
): Promise<AssignmentView> {
  const action = 'roleAssignments/delete/action';
  const assignment = await settledRead(hsm, caller, 'assignments', () => {
    allow(hsm, caller, action, scope);
    return assignmentWithin(hsm.state, scope, name);
  });
  const authority = { caller, action, scope } as const;
  await hsm.submit({ kind: 'RoleAssignmentDeleted', id: newUuid(), time: hsm.now(), authority, assignment });
  return assignmentView(assignment);
}
