// What may become true of roles: one pure function from the state and a mutation to what changes, or to the reason
// why nothing does. That the caller may is judged before; here it is judged that it is about what she may.
import { Refusal } from '../refusal.js';
import { put, remove, type Change, type State } from '../state.js';
import type { Authority, RoleMutation } from '../mutation.js';
import { added, assignmentsAt, isAssigned, removed } from './assign.js';
import { ADMINISTRATOR } from './built-in-roles.js';
import { actionsOf, builtInRole, MAX_DEFINITIONS } from './definitions.js';
import { covers, notPermitted } from './permit.js';
import type { Assignment, RoleDefinition, Scope } from './records.js';

/** Assignments at `/` and `/keys` together. */
export const MAX_HSM_ASSIGNMENTS = 50;
/** Assignments at the scope of one key. */
export const MAX_KEY_ASSIGNMENTS = 10;

export function applyToRoles(state: State, mutation: RoleMutation): Change[] | Refusal {
  switch (mutation.kind) {
    case 'RoleDefinitionPut':
      return putDefinition(state, mutation.definition);
    case 'RoleDefinitionDeleted':
      return deleteDefinition(state, mutation.name);
    case 'RoleAssignmentCreated':
      return beyond(mutation.authority, mutation.assignment) ?? create(state, mutation.assignment);
    case 'RoleAssignmentDeleted':
      return beyond(mutation.authority, mutation.assignment) ?? withdraw(state, mutation.assignment);
  }
}

/** The refusal of what only an id of the program's own may be called. */
export function builtInRefusal(): Refusal {
  return new Refusal('BadParameter', 'Cannot reuse the id of a built-in role; use a unique id');
}

function putDefinition(state: State, definition: RoleDefinition): Change[] | Refusal {
  const { name, roleName, description, permissions } = definition;
  if (builtInRole(name)) return builtInRefusal();
  if (!state.get('definitions', name) && state.count('definitions') >= MAX_DEFINITIONS) {
    return new Refusal('TooManyRoleDefinitions', `${MAX_DEFINITIONS} custom role definitions`);
  }
  return [put('definitions', name, { name, roleName, description, permissions })];
}

// Its assignments stay, and grant nothing from now on.
function deleteDefinition(state: State, name: string): Change[] | Refusal {
  if (builtInRole(name)) return builtInRefusal();
  if (!state.get('definitions', name)) return new Refusal('RoleDefinitionNotFound', name);
  return [remove('definitions', name)];
}

// The right was asked for at the scope in the request: it must not reach further than that.
function beyond(authority: Authority | undefined, { scope }: Assignment): Refusal | undefined {
  if (!authority || covers(authority.scope, scope)) return undefined;
  return notPermitted(authority.action, scope);
}

function create(state: State, assignment: Assignment): Change[] | Refusal {
  const { name, roleDefinitionId, scope } = assignment;
  if (state.get('assignments', name)) return new Refusal('RoleAssignmentExists', name);
  if (!actionsOf(state, roleDefinitionId)) return new Refusal('RoleDefinitionNotFound', roleDefinitionId);
  if (isAssigned(state, assignment)) return new Refusal('RoleAlreadyAssigned', scope);
  return full(state, scope) ?? added(state, assignment);
}

function full(state: State, scope: Scope): Refusal | undefined {
  const at = (one: Scope) => state.get('assignedAt', one)?.names.length ?? 0;
  if (scope === '/' || scope === '/keys') {
    if (at('/') + at('/keys') < MAX_HSM_ASSIGNMENTS) return undefined;
    return new Refusal('TooManyRoleAssignments', `${MAX_HSM_ASSIGNMENTS} role assignments at / and /keys`);
  }
  if (at(scope) < MAX_KEY_ASSIGNMENTS) return undefined;
  return new Refusal('TooManyRoleAssignments', `${MAX_KEY_ASSIGNMENTS} role assignments at ${scope}`);
}

function withdraw(state: State, assignment: Assignment): Change[] | Refusal {
  const { name, principalId, roleDefinitionId, scope } = assignment;
  const found = state.get('assignments', name);
  const same =
    found?.principalId === principalId &&
    found.roleDefinitionId === roleDefinitionId &&
    found.scope === scope;
  if (!same) return new Refusal('RoleAssignmentNotFound', name);
  if (isAdministrator(assignment) && assignmentsAt(state, '/').filter(isAdministrator).length === 1) {
    return new Refusal(
      'LastAdministrator',
      'This is the last role assignment of a Managed HSM Administrator at /; assign the role to somebody else first',
    );
  }
  return removed(state, assignment);
}

function isAdministrator({ roleDefinitionId, scope }: Assignment): boolean {
  return roleDefinitionId === ADMINISTRATOR && scope === '/';
}
