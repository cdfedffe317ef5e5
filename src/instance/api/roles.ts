// Handlers of local RBAC: role definitions and role assignments.
import { guidOf } from '../../values/ids.js';
import { createRoleAssignment } from '../hsm/create-role-assignment.js';
import { deleteRoleAssignment } from '../hsm/delete-role-assignment.js';
import { deleteRoleDefinition } from '../hsm/delete-role-definition.js';
import { getRoleAssignment } from '../hsm/get-role-assignment.js';
import { getRoleDefinition } from '../hsm/get-role-definition.js';
import { listRoleAssignments } from '../hsm/list-role-assignments.js';
import { listRoleDefinitions } from '../hsm/list-role-definitions.js';
import { putRoleDefinition } from '../hsm/put-role-definition.js';
import type { RoleScope } from '../hsm/role-view.js';
import type { AssignmentBody, DefinitionBody } from './bodies.js';
import { whenDone, type Answer, type Call } from './call.js';
import { bad } from './errors.js';
import { assignmentList, definitionList, roleAssignment, roleDefinition } from './role-shapes.js';

/** The scope that a path names, from the name of the key in it. */
export type ScopeOf = (name: string) => RoleScope;

/** `GET {scope}/…/roleDefinitions`: a list of RoleDefinitions, all in one page. */
export const listDefinitions =
  (scopeOf: ScopeOf) =>
  ({ hsm, caller, name, query }: Call): Answer =>
    whenDone(listRoleDefinitions(hsm, caller, scopeOf(name), roleNameIn(query.filter)), definitionList);

/** `GET {scope}/…/roleDefinitions/{item}`: a RoleDefinition. */
export const getDefinition =
  (scopeOf: ScopeOf) =>
  ({ hsm, caller, name, item }: Call): Answer =>
    whenDone(getRoleDefinition(hsm, caller, scopeOf(name), item), roleDefinition);

/** `PUT /…/roleDefinitions/{item}`: the RoleDefinition, made or replaced. */
export async function putDefinition({ hsm, caller, item }: Call, body: DefinitionBody): Promise<string> {
  const { roleName, description, type, permissions, assignableScopes } = body.properties;
  const name = guidOf(item) ?? bad('Role definition name must be a GUID');
  if (type !== undefined && type !== '' && type.toLowerCase() !== 'customrole') {
    bad("Property 'properties.type': must be 'CustomRole'");
  }
  if (assignableScopes?.some((scope) => scope !== '/')) {
    bad("Property 'properties.assignableScopes': the only assignable scope is '/'");
  }
  const wished = (permissions ?? []).map(({ actions, notActions, dataActions, notDataActions }) => {
    // They would grant nothing here, and who wrote them believes otherwise.
    if (actions?.length || notActions?.length) {
      bad("Property 'properties.permissions': actions and notActions must be empty; use dataActions");
    }
    return { dataActions: dataActions ?? [], notDataActions: notDataActions ?? [] };
  });
  return roleDefinition(
    await putRoleDefinition(hsm, caller, {
      name,
      roleName: roleName ?? '',
      description: description ?? '',
      permissions: wished,
    }),
  );
}

/** `DELETE /…/roleDefinitions/{item}`: the RoleDefinition that was. */
export async function deleteDefinition({ hsm, caller, item }: Call): Promise<string> {
  return roleDefinition(await deleteRoleDefinition(hsm, caller, item));
}

/** `GET {scope}/…/roleAssignments`: a list of RoleAssignments, all in one page. */
export const listAssignments =
  (scopeOf: ScopeOf) =>
  ({ hsm, caller, name, query }: Call): Answer =>
    whenDone(listRoleAssignments(hsm, caller, scopeOf(name), principalIn(query.filter)), assignmentList);

/** `GET {scope}/…/roleAssignments/{item}`: a RoleAssignment. */
export const getAssignment =
  (scopeOf: ScopeOf) =>
  ({ hsm, caller, name, item }: Call): Answer =>
    whenDone(getRoleAssignment(hsm, caller, scopeOf(name), item), roleAssignment);

/** `PUT {scope}/…/roleAssignments/{item}`: the RoleAssignment. */
export const createAssignment =
  (scopeOf: ScopeOf) =>
  async (call: Call, { properties }: AssignmentBody): Promise<string> => {
    const wish = {
      name: guidOf(call.item) ?? bad('Role assignment name must be a GUID'),
      principalId: guidOf(properties.principalId) ?? bad("Property 'properties.principalId': must be a GUID"),
      roleDefinitionId: definitionNamed(properties.roleDefinitionId),
      scope: scopeOf(call.name),
    };
    return roleAssignment(await createRoleAssignment(call.hsm, call.caller, wish));
  };

/** `DELETE {scope}/…/roleAssignments/{item}`: the RoleAssignment that was. */
export const deleteAssignment =
  (scopeOf: ScopeOf) =>
  async ({ hsm, caller, name, item }: Call): Promise<string> =>
    roleAssignment(await deleteRoleAssignment(hsm, caller, scopeOf(name), item));

// As the service writes it, and as the general Azure form has it.
const DEFINITION_ID =
  /^\/?(?:microsoft\.keyvault\/)?providers\/microsoft\.authorization\/roledefinitions\/([^/]+)$/i;

function definitionNamed(id: string): string {
  return (
    guidOf(DEFINITION_ID.exec(id)?.[1] ?? '') ??
    bad("Property 'properties.roleDefinitionId': must be the id of a role definition")
  );
}

function roleNameIn(filter = ''): string | undefined {
  if (filter === '' || /^atScope(AndBelow)?\(\)$/i.test(filter)) return undefined;
  return quoted(filter, 'roleName') ?? badFilter();
}

function principalIn(filter = ''): string | undefined {
  if (filter === '' || /^atScope\(\)$/i.test(filter)) return undefined;
  return guidOf(quoted(filter, 'principalId') ?? badFilter()) ?? badFilter();
}

/** The text that the filter compares the member with; OData doubles an apostrophe inside one. */
function quoted(filter: string, member: string): string | undefined {
  const [, name, text] = /^(\w+) +eq +'((?:[^']|'')*)'$/i.exec(filter.trim()) ?? [];
  return name?.toLowerCase() === member.toLowerCase() ? text?.replaceAll("''", "'") : undefined;
}

// Ignoring it would answer more than was asked for, and clients act on what they get.
function badFilter(): never {
  return bad('This $filter is not supported here');
}
