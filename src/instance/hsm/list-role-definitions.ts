// List the role definitions. They exist for the whole HSM only, and are the same seen from every scope; the right to
// read them is asked for where they are read, since clients look up a role's name at the scope of an assignment.
import type { Caller } from '../model/rbac/records.js';
import type { Hsm } from './hsm.js';
import { allow, settledRead } from './reading.js';
import { definitionViews, type DefinitionView, type RoleScope } from './role-view.js';

/** All, or those whose role name is this in any case. */
export function listRoleDefinitions(
  hsm: Hsm,
  caller: Caller,
  scope: RoleScope,
  roleName?: string,
): DefinitionView[] | Promise<DefinitionView[]> {
  return settledRead(hsm, caller, 'definitions', () => {
    allow(hsm, caller, 'roleDefinitions/read/action', scope);
    const all = definitionViews(hsm.state);
    const wanted = roleName?.toLowerCase();
    return wanted === undefined ? all : all.filter((view) => view.roleName.toLowerCase() === wanted);
  });
}
