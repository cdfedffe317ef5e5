// Wishes about role assignments and private endpoint connections. Pure.
import { guidOf } from '../../values/ids.js';
import { replaceHsm } from './change.js';
import { modified, noGroup, noHsm } from './judge-hsm.js';
import { isConnectionName } from './names.js';
import { OWNER, roleById } from './rbac.js';
import { ArmRefusal } from './refusal.js';
import { groupNamed, hsmNamed } from './state.js';
import type { Hsm, ResourceState, RoleAssignment } from './state.js';
import type { Circumstances, Wish } from './wish.js';

type Judged = ResourceState | ArmRefusal;
type WishOf<K extends Wish['kind']> = Extract<Wish, { kind: K }>;

/** The service's own limit. */
const CONNECTIONS_MAX = 64;

export function putAssignment(
  state: ResourceState,
  wish: WishOf<'PutAssignment'>,
  { now }: Circumstances,
): Judged {
  const name = guidOf(wish.name);
  if (name === undefined) {
    return new ArmRefusal(
      'InvalidRoleAssignmentId',
      `The role assignment ID '${wish.name.slice(0, 100)}' is not valid. The role assignment ID must be a GUID.`,
    );
  }
  const wrong = scopeProblem(state, wish.scope);
  if (wrong) return wrong;
  const principalId = guidOf(wish.principalId);
  if (principalId === undefined) {
    return new ArmRefusal(
      'InvalidPrincipalId',
      `The Principal ID '${wish.principalId.slice(0, 100)}' is not valid. Principal ID must be a GUID.`,
    );
  }
  const role = guidOf(wish.role.slice(wish.role.lastIndexOf('/') + 1));
  if (role === undefined || !roleById(role)) {
    return new ArmRefusal(
      'RoleDefinitionDoesNotExist',
      `The specified role definition with ID '${wish.role.slice(0, 200)}' does not exist.`,
    );
  }
  const sameScope = (other: RoleAssignment): boolean =>
    other.scope.toLowerCase() === wish.scope.toLowerCase();
  const present = state.assignments.find((other) => other.name === name);
  if (present) {
    if (present.principalId === principalId && present.role === role && sameScope(present)) return state;
    return new ArmRefusal(
      'RoleAssignmentUpdateNotPermitted',
      'Tenant ID, application ID, principal ID, and scope are not allowed to be updated.',
    );
  }
  const twin = state.assignments.some(
    (other) => other.principalId === principalId && other.role === role && sameScope(other),
  );
  if (twin) return new ArmRefusal('RoleAssignmentExists', 'The role assignment already exists.');
  const made: RoleAssignment = {
    name,
    scope: wish.scope,
    principalId,
    principalType: wish.principalType ?? 'ServicePrincipal',
    role,
    createdBy: wish.by,
    createdAt: now,
  };
  return { ...state, assignments: [...state.assignments, made] };
}

export function deleteAssignment(state: ResourceState, wish: WishOf<'DeleteAssignment'>): Judged {
  const present = assignmentNamed(state, wish.scope, wish.name);
  if (!present) {
    return new ArmRefusal('RoleAssignmentNotFound', `The role assignment '${wish.name}' is not found.`);
  }
  const whole = `/subscriptions/${state.subscription.id}`.toLowerCase();
  const isOwner = ({ role, scope }: RoleAssignment): boolean =>
    role === OWNER && scope.toLowerCase() === whole;
  if (isOwner(present) && state.assignments.filter(isOwner).length === 1) {
    return new ArmRefusal(
      'LastOwner',
      'Cannot delete the last owner of the subscription: nobody could assign roles after that.',
    );
  }
  return { ...state, assignments: state.assignments.filter((other) => other !== present) };
}

/** An assignment by its name, at its own scope. */
export function assignmentNamed(
  state: ResourceState,
  scope: string,
  name: string,
): RoleAssignment | undefined {
  return state.assignments.find(
    (other) => other.name === name.toLowerCase() && other.scope.toLowerCase() === scope.toLowerCase(),
  );
}

export function putConnection(
  state: ResourceState,
  wish: WishOf<'PutConnection'>,
  { now }: Circumstances,
): Judged {
  const hsm = hsmNamed(state, wish.group, wish.name);
  if (!hsm) return noHsm(state, wish);
  if (!isConnectionName(wish.connection)) {
    return new ArmRefusal(
      'BadRequest',
      `The private endpoint connection name '${wish.connection.slice(0, 100)}' is invalid.`,
    );
  }
  const present = connectionNamed(hsm, wish.connection);
  const endpoint = wish.endpoint ?? present?.endpoint;
  if (endpoint === undefined) {
    return new ArmRefusal(
      'ResourceNotFound',
      `The private endpoint connection '${wish.connection}' was not found; to record a new one, name its ` +
        'privateEndpoint.',
    );
  }
  if (!present && hsm.connections.length >= CONNECTIONS_MAX) {
    return new ArmRefusal(
      'QuotaExceeded',
      `The managed HSM has ${CONNECTIONS_MAX} private endpoint connections, which is the limit.`,
    );
  }
  const made = {
    name: present?.name ?? wish.connection,
    endpoint,
    status: wish.status,
    description: wish.description ?? present?.description ?? '',
    revision: (present?.revision ?? 0) + 1,
  };
  const connections = present
    ? hsm.connections.map((other) => (other === present ? made : other))
    : [...hsm.connections, made];
  return replaceHsm(state, modified({ ...hsm, connections }, wish.by, now));
}

export function deleteConnection(
  state: ResourceState,
  wish: WishOf<'DeleteConnection'>,
  { now }: Circumstances,
): Judged {
  const hsm = hsmNamed(state, wish.group, wish.name);
  if (!hsm) return noHsm(state, wish);
  const present = connectionNamed(hsm, wish.connection);
  if (!present) return state;
  const connections = hsm.connections.filter((other) => other !== present);
  return replaceHsm(state, modified({ ...hsm, connections }, wish.by, now));
}

export function connectionNamed(hsm: Hsm, name: string): Hsm['connections'][number] | undefined {
  return hsm.connections.find((other) => other.name.toLowerCase() === name.toLowerCase());
}

const SCOPE =
  /^\/subscriptions\/([^/]+)(?:\/resourcegroups\/([^/]+)(?:\/providers\/microsoft\.keyvault\/managedhsms\/([^/]+))?)?$/i;

/** The subscription, one of its groups, or an HSM in one; anything else is no scope here. */
function scopeProblem(state: ResourceState, scope: string): ArmRefusal | undefined {
  const [, subscription, group, name] = SCOPE.exec(scope) ?? [];
  if (subscription?.toLowerCase() !== state.subscription.id) {
    return new ArmRefusal('BadRequest', `The scope '${scope.slice(0, 300)}' is not valid.`);
  }
  if (group === undefined) return undefined;
  if (!groupNamed(state, group)) return noGroup(group);
  if (name !== undefined && !hsmNamed(state, group, name)) return noHsm(state, { group, name });
  return undefined;
}
