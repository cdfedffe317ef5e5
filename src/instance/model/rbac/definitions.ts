// Role definitions, built-in and custom: which data actions each gives.
import type { State } from '../state.js';
import { builtInRoles, type BuiltInRole, type DataAction } from './built-in-roles.js';
import type { RoleDefinition } from './records.js';

/** Custom definitions of one HSM. */
export const MAX_DEFINITIONS = 50;

const builtIn: ReadonlyMap<string, BuiltInRole> = new Map(builtInRoles.map((role) => [role.id, role]));

export function builtInRole(id: string): BuiltInRole | undefined {
  return builtIn.get(id);
}

// Records are never changed in place, so what follows from one is computed once.
const known = new WeakMap<RoleDefinition, ReadonlySet<DataAction>>();

/** What a custom role gives: all that its blocks give, less all that any of them takes away. */
function actionsGiven(definition: RoleDefinition): ReadonlySet<DataAction> {
  let actions = known.get(definition);
  if (!actions) {
    const given = new Set(definition.permissions.flatMap(({ dataActions }) => dataActions));
    for (const { notDataActions } of definition.permissions) {
      for (const action of notDataActions) given.delete(action);
    }
    actions = given;
    known.set(definition, actions);
  }
  return actions;
}

/** What the role gives; undefined if there is no such role (any more). */
export function actionsOf(state: State, roleDefinitionId: string): ReadonlySet<DataAction> | undefined {
  const role = builtIn.get(roleDefinitionId);
  if (role) return role.actions;
  const definition = state.get('definitions', roleDefinitionId);
  return definition && actionsGiven(definition);
}
