// Azure RBAC of the control plane: built-in roles, and who may do what where. Nothing here opens a key. Pure.
import type { RoleAssignment } from './state.js';

export interface Role {
  /** GUID. */
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly actions: readonly string[];
  readonly notActions: readonly string[];
}

export const OWNER = '8e3af657-a8ff-443c-a75c-2fe8c4bcb635';

/** The built-in roles that are of use here, with Azure's own ids. */
export const ROLES: readonly Role[] = [
  {
    id: OWNER,
    name: 'Owner',
    description:
      'Grants full access to manage all resources, including the ability to assign roles in Azure RBAC.',
    actions: ['*'],
    notActions: [],
  },
  {
    id: 'b24988ac-6180-42a0-ab88-20f7382dd24c',
    name: 'Contributor',
    description:
      'Grants full access to manage all resources, but does not allow you to assign roles in Azure RBAC, manage ' +
      'assignments in Azure Blueprints, or share image galleries.',
    actions: ['*'],
    notActions: [
      'Microsoft.Authorization/*/Delete',
      'Microsoft.Authorization/*/Write',
      'Microsoft.Authorization/elevateAccess/Action',
    ],
  },
  {
    id: 'acdd72a7-3385-48ef-bd42-f606fba81ae7',
    name: 'Reader',
    description: 'View all resources, but does not allow you to make any changes.',
    actions: ['*/read'],
    notActions: [],
  },
  {
    id: '18500a29-7fe2-46b2-a342-b16a415e101d',
    name: 'Managed HSM contributor',
    description: 'Lets you manage managed HSM pools, but not access to them.',
    actions: [
      'Microsoft.KeyVault/managedHSMs/*',
      'Microsoft.KeyVault/deletedManagedHsms/read',
      'Microsoft.KeyVault/locations/deletedManagedHsms/read',
      'Microsoft.KeyVault/locations/deletedManagedHsms/purge/action',
      'Microsoft.KeyVault/locations/managedHsmOperationResults/read',
    ],
    notActions: [],
  },
];

export function roleById(id: string): Role | undefined {
  return ROLES.find((role) => role.id === id.toLowerCase());
}

/** Whether a scope, or one that it lies in, gives this principal the action. */
export function permits(
  assignments: readonly RoleAssignment[],
  principalId: string,
  action: string,
  scope: string,
): boolean {
  return assignments.some(
    (one) => one.principalId === principalId && covers(one.scope, scope) && allows(one.role, action),
  );
}

/** Whether the action is given anywhere in or below a scope, so that a list of what lies there may be asked for. */
export function permitsSomewhere(
  assignments: readonly RoleAssignment[],
  principalId: string,
  action: string,
  scope: string,
): boolean {
  return assignments.some(
    (one) =>
      one.principalId === principalId &&
      (covers(one.scope, scope) || covers(scope, one.scope)) &&
      allows(one.role, action),
  );
}

/** Whether `inner` is the scope `outer`, or lies in it. */
export function covers(outer: string, inner: string): boolean {
  const [whole, part] = [outer.toLowerCase().replace(/\/+$/, ''), inner.toLowerCase().replace(/\/+$/, '')];
  return part === whole || part.startsWith(`${whole}/`);
}

function allows(roleId: string, action: string): boolean {
  const role = roleById(roleId);
  if (!role) return false;
  const named = (patterns: readonly string[]): boolean =>
    patterns.some((pattern) => matches(pattern, action));
  return named(role.actions) && !named(role.notActions);
}

// A star stands for any text, slashes included.
function matches(pattern: string, action: string): boolean {
  const parts = pattern.toLowerCase().split('*');
  const text = action.toLowerCase();
  const [first = '', ...rest] = parts;
  const last = rest.pop();
  if (last === undefined) return text === first;
  if (!text.startsWith(first) || !text.endsWith(last) || text.length < first.length + last.length)
    return false;
  let at = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0 || found + part.length > text.length - last.length) return false;
    at = found + part.length;
  }
  return true;
}
