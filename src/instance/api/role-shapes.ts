// Role definitions and assignments as the service writes them.
import { toJson, type Json } from '../../values/json.js';
import type { AssignmentView, DefinitionView } from '../hsm/role-view.js';

export function roleDefinition(view: DefinitionView): string {
  return toJson(definition(view));
}

export function definitionList(views: readonly DefinitionView[]): string {
  return toJson({ value: views.map(definition) });
}

export function roleAssignment(view: AssignmentView): string {
  return toJson(assignment(view));
}

export function assignmentList(views: readonly AssignmentView[]): string {
  return toJson({ value: views.map(assignment) });
}

function definition({ name, roleName, description, builtIn, permissions }: DefinitionView): Json {
  return {
    id: definitionId(name),
    name,
    properties: {
      assignableScopes: ['/'],
      description,
      permissions: permissions.map(({ dataActions, notDataActions }) => ({
        actions: [],
        dataActions,
        notActions: [],
        notDataActions,
      })),
      roleName,
      type: builtIn ? 'AKVBuiltInRole' : 'CustomRole',
    },
    type: 'Microsoft.Authorization/roleDefinitions',
  };
}

// The id names no scope, not even where the scope is a key's: so the service was seen to write it.
function assignment({ name, principalId, roleDefinitionId, scope }: AssignmentView): Json {
  return {
    id: `/providers/Microsoft.Authorization/roleAssignments/${name}`,
    name,
    properties: { principalId, roleDefinitionId: definitionId(roleDefinitionId), scope },
    type: 'Microsoft.Authorization/roleAssignments',
  };
}

function definitionId(name: string): string {
  return `Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/${name}`;
}
