// Roles of Azure RBAC and who has them, at the subscription, its groups and its HSMs. These open the control plane and
// nothing else: the local roles of an HSM are its own.
import express from 'express';
import type { Request, Router } from 'express';
import { assignmentNamed } from '../../resources/judge-access.js';
import { ROLES, covers, roleById } from '../../resources/rbac.js';
import { ArmRefusal } from '../../resources/refusal.js';
import type { RoleAssignment } from '../../resources/state.js';
import { ControlRefusal } from '../errors.js';
import { assignmentIn } from './bodies.js';
import { callerIn, may, named, permit, permitList, sendPage } from './parts.js';
import type { ArmParts } from './parts.js';
import { assignmentShape, roleShape } from './shapes.js';

const SCOPES = [
  '/subscriptions/:subscription',
  '/subscriptions/:subscription/resourceGroups/:group',
  '/subscriptions/:subscription/resourceGroups/:group/providers/Microsoft.KeyVault/managedHSMs/:name',
];
const AUTHORIZATION = 'providers/Microsoft.Authorization';
const ACTION = 'Microsoft.Authorization';

export function accessRoutes(parts: ArmParts): Router {
  const { provider } = parts;
  const routes = express.Router();
  const assignments = SCOPES.map((scope) => `${scope}/${AUTHORIZATION}/roleAssignments`);
  const one = assignments.map((path) => `${path}/:assignment`);
  routes.get(assignments, (request, response) => {
    const { state } = provider;
    const scope = scopeOf(parts, request);
    const caller = callerIn(response);
    const action = `${ACTION}/roleAssignments/read`;
    permitList(state, caller, action, scope);
    const wanted = filterIn(request);
    const shown = state.assignments.filter(
      (other) =>
        (covers(other.scope, scope) || (!wanted.atScope && covers(scope, other.scope))) &&
        (wanted.principalId === undefined || other.principalId === wanted.principalId) &&
        // What is given above holds here, and whoever may read here may see that.
        (may(state, caller, action, other.scope) ||
          (covers(other.scope, scope) && may(state, caller, action, scope))),
    );
    sendPage(
      parts,
      request,
      response,
      shown,
      ({ name }) => name,
      (other) => assignmentShape(state, other),
    );
  });
  routes.get(one, (request, response) => {
    const scope = scopeOf(parts, request);
    permit(provider.state, callerIn(response), `${ACTION}/roleAssignments/read`, scope);
    response.json(assignmentShape(provider.state, assignmentAt(parts, scope, request)));
  });
  routes.put(one, async (request, response) => {
    const scope = scopeOf(parts, request);
    permit(provider.state, callerIn(response), `${ACTION}/roleAssignments/write`, scope);
    const before = assignmentNamed(provider.state, scope, named(request, 'assignment'));
    await provider.act({
      kind: 'PutAssignment',
      by: callerIn(response).objectId,
      scope,
      name: named(request, 'assignment'),
      ...assignmentIn(request.body),
    });
    response
      .status(before ? 200 : 201)
      .json(assignmentShape(provider.state, assignmentAt(parts, scope, request)));
  });
  routes.delete(one, async (request, response) => {
    const scope = scopeOf(parts, request);
    permit(provider.state, callerIn(response), `${ACTION}/roleAssignments/delete`, scope);
    const name = named(request, 'assignment');
    const before = assignmentNamed(provider.state, scope, name);
    if (!before) {
      response.status(204).end();
      return;
    }
    const shape = assignmentShape(provider.state, before);
    await provider.act({ kind: 'DeleteAssignment', by: callerIn(response).objectId, scope, name });
    response.json(shape);
  });
  definitionRoutes(parts, routes);
  return routes;
}

// The same for everybody who has come so far: the roles are Azure's own and tell nothing of this place.
function definitionRoutes(parts: ArmParts, routes: Router): void {
  const { provider } = parts;
  const definitions = [...SCOPES, ''].map((scope) => `${scope}/${AUTHORIZATION}/roleDefinitions`);
  const prefixOf = (request: Request): string =>
    named(request, 'subscription') === '' ? '' : `/subscriptions/${provider.state.subscription.id}`;
  routes.get(definitions, (request, response) => {
    const name = roleNameIn(request);
    const shown = ROLES.filter(
      (role) => name === undefined || role.name.toLowerCase() === name.toLowerCase(),
    );
    sendPage(
      parts,
      request,
      response,
      shown,
      (role) => role.id,
      (role) => roleShape(prefixOf(request), role),
    );
  });
  routes.get(
    definitions.map((path) => `${path}/:role`),
    (request, response) => {
      const role = roleById(named(request, 'role'));
      if (!role) {
        throw new ArmRefusal(
          'RoleDefinitionDoesNotExist',
          `The specified role definition with ID '${named(request, 'role').slice(0, 100)}' does not exist.`,
        );
      }
      response.json(roleShape(prefixOf(request), role));
    },
  );
}

function scopeOf({ provider }: ArmParts, request: Request): string {
  const { id } = provider.state.subscription;
  const [group, name] = [named(request, 'group'), named(request, 'name')];
  if (group === '') return `/subscriptions/${id}`;
  const inner = `/subscriptions/${id}/resourceGroups/${group}`;
  return name === '' ? inner : `${inner}/providers/Microsoft.KeyVault/managedHSMs/${name}`;
}

function assignmentAt({ provider }: ArmParts, scope: string, request: Request): RoleAssignment {
  const name = named(request, 'assignment');
  const found = assignmentNamed(provider.state, scope, name);
  if (found) return found;
  throw new ArmRefusal('RoleAssignmentNotFound', `The role assignment '${name.slice(0, 100)}' is not found.`);
}

const ASSIGNMENT_FILTER =
  /^(?:(atScope\(\)))?(?:\s*(?:and)?\s*(?:principalId\s+eq\s+|assignedTo\(\s*)'([0-9a-f-]{36})'\s*\)?)?$/i;

/** The filters that `az` makes. */
function filterIn(request: Request): { atScope: boolean; principalId: string | undefined } {
  const filter = request.query['$filter'];
  if (filter === undefined) return { atScope: false, principalId: undefined };
  const found = typeof filter === 'string' ? ASSIGNMENT_FILTER.exec(filter.trim()) : undefined;
  if (found) return { atScope: found[1] !== undefined, principalId: found[2]?.toLowerCase() };
  throw new ControlRefusal(
    'InvalidFilterInQueryString',
    "Invalid $filter in the query string: what is understood is atScope(), principalId eq '...' and assignedTo('...').",
  );
}

function roleNameIn(request: Request): string | undefined {
  const filter = request.query['$filter'];
  if (filter === undefined) return undefined;
  const text = typeof filter === 'string' ? filter.trim() : '';
  if (/^(?:atScopeAndBelow\(\)|atScope\(\))?$/i.test(text)) return undefined;
  const [, quoted] = /^roleName\s+eq\s+'((?:[^']|'')*)'$/i.exec(text) ?? [];
  if (quoted !== undefined) return quoted.replaceAll("''", "'");
  const [, type] = /^type\s+eq\s+'(\w+)'$/i.exec(text) ?? [];
  if (type?.toLowerCase() === 'builtinrole') return undefined;
  throw new ControlRefusal('InvalidFilterInQueryString', "What is understood is roleName eq '...'.");
}
