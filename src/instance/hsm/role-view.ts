// Role definitions and assignments as the verbs answer them.
import {
  ACTION_PREFIX,
  builtInRoles,
  type BuiltInRole,
  type DataAction,
} from '../model/rbac/built-in-roles.js';
import { builtInRole, MAX_DEFINITIONS } from '../model/rbac/definitions.js';
import type { Assignment, RoleDefinition, Scope } from '../model/rbac/records.js';
import { covers } from '../model/rbac/permit.js';
import type { State } from '../model/state.js';
import { refuse } from './reading.js';

/** Where a role is assigned, and where roles are asked about. */
export type RoleScope = Scope;

export interface DefinitionView {
  /** GUID. */
  readonly name: string;
  readonly roleName: string;
  readonly description: string;
  readonly builtIn: boolean;
  readonly permissions: readonly PermissionView[];
}

/** Data actions with their prefix, as clients write them. */
export interface PermissionView {
  readonly dataActions: readonly string[];
  readonly notDataActions: readonly string[];
}

export interface AssignmentView {
  /** GUID. */
  readonly name: string;
  /** GUID. */
  readonly principalId: string;
  /** GUID. */
  readonly roleDefinitionId: string;
  readonly scope: RoleScope;
}

/** Every definition: the built-in ones, then the custom ones by GUID. */
export function definitionViews(state: State): DefinitionView[] {
  const custom = state.range('definitions', '', MAX_DEFINITIONS);
  return [...builtInRoles.map(builtInView), ...custom.map(([, definition]) => customView(definition))];
}

/** The definition of that name, if there is one. */
export function definitionViewOf(state: State, name: string): DefinitionView | undefined {
  const role = builtInRole(name);
  if (role) return builtInView(role);
  const definition = state.get('definitions', name);
  return definition && customView(definition);
}

function builtInView({ id, roleName, actions }: BuiltInRole): DefinitionView {
  const permissions = [{ dataActions: [...actions].map(prefixed), notDataActions: [] }];
  // The service gives its own roles no description.
  return { name: id, roleName, description: '', builtIn: true, permissions };
}

export function customView({ name, roleName, description, permissions }: RoleDefinition): DefinitionView {
  return {
    name,
    roleName,
    description,
    builtIn: false,
    permissions: permissions.map(({ dataActions, notDataActions }) => ({
      dataActions: dataActions.map(prefixed),
      notDataActions: notDataActions.map(prefixed),
    })),
  };
}

export function assignmentView({ name, principalId, roleDefinitionId, scope }: Assignment): AssignmentView {
  return { name, principalId, roleDefinitionId, scope };
}

/**
 * The assignment of that name at the scope or below; as if it were not there when it is wider, for who asks at a
 * narrow scope has shown no right to it.
 */
export function assignmentWithin(state: State, scope: RoleScope, name: string): Assignment {
  const assignment = state.get('assignments', name);
  if (!assignment || !covers(scope, assignment.scope)) return refuse('RoleAssignmentNotFound', name);
  return assignment;
}

function prefixed(action: DataAction): string {
  return ACTION_PREFIX + action;
}
