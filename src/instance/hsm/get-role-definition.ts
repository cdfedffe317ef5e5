// Get one role definition.
import type { Caller } from '../model/rbac/records.js';
import type { Hsm } from './hsm.js';
import { allow, refuse, settledRead } from './reading.js';
import { definitionViewOf, type DefinitionView, type RoleScope } from './role-view.js';

/** `name` in lower case; one that is no GUID is not found. */
export function getRoleDefinition(
  hsm: Hsm,
  caller: Caller,
  scope: RoleScope,
  name: string,
): DefinitionView | Promise<DefinitionView> {
  return settledRead(hsm, caller, 'definitions', () => {
    allow(hsm, caller, 'roleDefinitions/read/action', scope);
    return definitionViewOf(hsm.state, name) ?? refuse('RoleDefinitionNotFound', name);
  });
}
