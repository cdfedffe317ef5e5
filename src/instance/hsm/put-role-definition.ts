// Create a custom role, or replace one. What it names is checked against what exists: a role that asks for a data
// action nobody knows, or for all of them by a star, would grant something else than its author read.
import { newUuid } from '../../values/ids.js';
import { builtInRole } from '../model/rbac/definitions.js';
import { builtInRefusal } from '../model/rbac/apply.js';
import { dataActionOf, type DataAction } from '../model/rbac/built-in-roles.js';
import type { Caller, RoleDefinition } from '../model/rbac/records.js';
import { heed } from '../model/refusal.js';
import type { Hsm } from './hsm.js';
import { allow, refuse, settledRead } from './reading.js';
import { customView, type DefinitionView, type PermissionView } from './role-view.js';

export interface PutRoleDefinition {
  /** GUID in lower case. */
  readonly name: string;
  readonly roleName: string;
  readonly description: string;
  /** Data actions as the client wrote them. */
  readonly permissions: readonly PermissionView[];
}

/** Who may write definitions may widen a role that she holds herself; the service has it so, and so it is here. */
export async function putRoleDefinition(
  hsm: Hsm,
  caller: Caller,
  wish: PutRoleDefinition,
): Promise<DefinitionView> {
  const action = 'roleDefinitions/write/action';
  const scope = '/';
  await settledRead(hsm, caller, 'definitions', () => {
    allow(hsm, caller, action, scope);
    if (builtInRole(wish.name)) heed(builtInRefusal());
  });
  const definition: RoleDefinition = {
    name: wish.name,
    roleName: wish.roleName,
    description: wish.description,
    permissions: wish.permissions.map(({ dataActions, notDataActions }) => ({
      dataActions: actionsNamed(dataActions),
      notDataActions: actionsNamed(notDataActions),
    })),
  };
  const authority = { caller, action, scope } as const;
  await hsm.submit({ kind: 'RoleDefinitionPut', id: newUuid(), time: hsm.now(), authority, definition });
  return customView(definition);
}

/** Each once, in the service's own spelling. */
function actionsNamed(texts: readonly string[]): DataAction[] {
  const named = texts.map((text) => {
    if (text.includes('*')) refuse('BadParameter', 'Data actions are named one by one, without wildcards');
    return dataActionOf(text) ?? refuse('BadParameter', `Unknown data action: '${text}'`);
  });
  return [...new Set(named)];
}
