// Delete a custom role. Assignments of it stay in place and grant nothing.
import { newUuid } from '../../values/ids.js';
import { builtInRole } from '../model/rbac/definitions.js';
import { builtInRefusal } from '../model/rbac/apply.js';
import type { Caller } from '../model/rbac/records.js';
import { heed } from '../model/refusal.js';
import type { Hsm } from './hsm.js';
import { allow, refuse, settledRead } from './reading.js';
import { definitionViewOf, type DefinitionView } from './role-view.js';

/** `name` in lower case. Answers with the role as it was read before it was deleted. */
export async function deleteRoleDefinition(hsm: Hsm, caller: Caller, name: string): Promise<DefinitionView> {
  const action = 'roleDefinitions/delete/action';
  const scope = '/';
  const view = await settledRead(hsm, caller, 'definitions', () => {
    allow(hsm, caller, action, scope);
    if (builtInRole(name)) heed(builtInRefusal());
    return definitionViewOf(hsm.state, name) ?? refuse('RoleDefinitionNotFound', name);
  });
  const authority = { caller, action, scope } as const;
  await hsm.submit({ kind: 'RoleDefinitionDeleted', id: newUuid(), time: hsm.now(), authority, name });
  return view;
}
