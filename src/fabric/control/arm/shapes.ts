// How resources look to clients of the control plane. Pure: facts in, JSON out.
import type { Seconds } from '../../../values/moments.js';
import type { Role } from '../../resources/rbac.js';
import { groupId, hsmId } from '../../resources/state.js';
import type {
  Group,
  Hsm,
  Identity,
  Phase,
  PrivateEndpointConnection,
  ResourceState,
  RoleAssignment,
} from '../../resources/state.js';

type Json = Record<string, unknown>;

export interface HsmFacts {
  /** `https://{name}.{domain}:{port}/` */
  readonly uri: string;
  /** Undefined while the pool does not run. */
  readonly activation: 'Active' | 'NotActivated' | undefined;
}

const PROVISIONING: Readonly<Record<Phase, string>> = {
  Provisioning: 'Provisioning',
  Recovering: 'Provisioning',
  Running: 'Succeeded',
  Failed: 'Failed',
  Deleting: 'Deleting',
  Deleted: 'Deleting',
  Purging: 'Deleting',
};

const ACTIVATION = {
  Active: 'Your HSM has been activated and can be used for cryptographic operations.',
  NotActivated:
    'Your HSM has been provisioned, but not activated. To activate it, download the security domain.',
  Unknown: 'The state of the HSM is not known at present.',
} as const;

export function hsmShape(state: ResourceState, hsm: Hsm, { uri, activation }: HsmFacts): Json {
  const { systemData: data } = hsm;
  const activationStatus = activation ?? 'Unknown';
  return {
    id: hsmId(state, hsm),
    name: hsm.name,
    type: 'Microsoft.KeyVault/managedHSMs',
    location: hsm.location,
    sku: hsm.sku,
    tags: hsm.tags,
    ...(hsm.identity && { identity: identityShape(hsm.identity, hsm.tenantId) }),
    systemData: {
      createdBy: data.createdBy,
      createdByType: 'Application',
      createdAt: moment(data.createdAt),
      lastModifiedBy: data.lastModifiedBy,
      lastModifiedByType: 'Application',
      lastModifiedAt: moment(data.lastModifiedAt),
    },
    properties: {
      tenantId: hsm.tenantId,
      hsmUri: uri,
      initialAdminObjectIds: hsm.administrators,
      enableSoftDelete: true,
      softDeleteRetentionInDays: hsm.retentionDays,
      enablePurgeProtection: hsm.purgeProtection,
      provisioningState: PROVISIONING[hsm.phase],
      statusMessage: statusMessage(hsm),
      networkAcls: {
        bypass: hsm.networkAcls.bypass,
        defaultAction: hsm.networkAcls.defaultAction,
        ipRules: hsm.networkAcls.ipRules.map((value) => ({ value })),
        serviceTags: hsm.networkAcls.serviceTags.map((tag) => ({ tag })),
        virtualNetworkRules: hsm.networkAcls.virtualNetworkRules.map((id) => ({ id })),
      },
      publicNetworkAccess: hsm.publicNetworkAccess,
      regions: [],
      ...(hsm.connections.length > 0 && {
        privateEndpointConnections: hsm.connections.map((one) => {
          const { id, etag, properties } = connectionShape(state, hsm, one);
          return { id, etag, properties };
        }),
      }),
      securityDomainProperties: { activationStatus, activationStatusMessage: ACTIVATION[activationStatus] },
    },
  };
}

function statusMessage({ phase, problem }: Hsm): string {
  switch (phase) {
    case 'Provisioning':
      return 'Resource creation in progress. Starting service...';
    case 'Recovering':
      return problem ?? 'Resource recovery in progress. Starting service...';
    case 'Running':
      return problem ?? 'The Managed HSM is provisioned and ready to use.';
    case 'Failed':
      return problem ?? 'Resource creation failed.';
    case 'Deleting':
    case 'Deleted':
    case 'Purging':
      return 'Resource deletion in progress.';
  }
}

function identityShape({ type, principalId, userAssigned }: Identity, tenantId: string): Json {
  return {
    type,
    ...(principalId !== undefined && { principalId, tenantId }),
    ...(userAssigned.length > 0 && {
      userAssignedIdentities: Object.fromEntries(userAssigned.map((id) => [id, {}])),
    }),
  };
}

/** What lists of all resources show. */
export function briefShape(state: ResourceState, hsm: Hsm): Json {
  return {
    id: hsmId(state, hsm),
    name: hsm.name,
    type: 'Microsoft.KeyVault/managedHSMs',
    location: hsm.location,
    sku: hsm.sku,
    tags: hsm.tags,
  };
}

export function deletedId(state: ResourceState, { location, name }: Hsm): string {
  return `/subscriptions/${state.subscription.id}/providers/Microsoft.KeyVault/locations/${location}/deletedManagedHSMs/${name}`;
}

export function deletedShape(state: ResourceState, hsm: Hsm): Json {
  return {
    id: deletedId(state, hsm),
    name: hsm.name,
    type: 'Microsoft.Keyvault/deletedManagedHSMs',
    properties: {
      mhsmId: hsmId(state, hsm),
      location: hsm.location,
      deletionDate: moment(hsm.deletedAt ?? 0),
      scheduledPurgeDate: moment(hsm.scheduledPurgeAt ?? 0),
      purgeProtectionEnabled: hsm.purgeProtection,
      tags: hsm.tags,
    },
  };
}

export function regionShape({ location, phase }: Hsm): Json {
  return { name: location, provisioningState: PROVISIONING[phase], isPrimary: true };
}

export function connectionShape(state: ResourceState, hsm: Hsm, one: PrivateEndpointConnection): Json {
  return {
    id: `${hsmId(state, hsm)}/privateEndpointConnections/${one.name}`,
    name: one.name,
    // The service says `vaults` here for HSMs too.
    type: 'Microsoft.KeyVault/vaults/privateEndpointConnections',
    location: hsm.location,
    sku: hsm.sku,
    tags: hsm.tags,
    etag: `W/"${one.revision}"`,
    properties: {
      provisioningState: 'Succeeded',
      privateEndpoint: { id: one.endpoint },
      privateLinkServiceConnectionState: {
        status: one.status,
        description: one.description,
        actionsRequired: 'None',
      },
    },
  };
}

export function linkResourceShape(state: ResourceState, hsm: Hsm): Json {
  return {
    id: `${hsmId(state, hsm)}/privateLinkResources/managedhsm`,
    name: 'managedhsm',
    type: 'Microsoft.KeyVault/managedHSMs/privateLinkResources',
    properties: {
      groupId: 'managedhsm',
      requiredMembers: ['default'],
      requiredZoneNames: ['privatelink.managedhsm.azure.net'],
    },
  };
}

export function subscriptionShape(state: ResourceState, tenantId: string): Json {
  const { id, displayName, state: present } = state.subscription;
  return {
    id: `/subscriptions/${id}`,
    subscriptionId: id,
    tenantId,
    displayName,
    state: present,
    subscriptionPolicies: {
      locationPlacementId: 'Public_2014-09-01',
      quotaId: 'PayAsYouGo_2014-09-01',
      spendingLimit: 'Off',
    },
    authorizationSource: 'RoleBased',
    managedByTenants: [],
  };
}

export function groupShape(state: ResourceState, group: Group): Json {
  return {
    id: groupId(state, group.name),
    name: group.name,
    type: 'Microsoft.Resources/resourceGroups',
    location: group.location,
    tags: group.tags,
    properties: { provisioningState: group.deleting === undefined ? 'Succeeded' : 'Deleting' },
  };
}

export function assignmentShape(state: ResourceState, one: RoleAssignment): Json {
  const created = moment(one.createdAt);
  return {
    id: `${one.scope}/providers/Microsoft.Authorization/roleAssignments/${one.name}`,
    name: one.name,
    type: 'Microsoft.Authorization/roleAssignments',
    properties: {
      roleDefinitionId: roleId(`/subscriptions/${state.subscription.id}`, one.role),
      principalId: one.principalId,
      principalType: one.principalType,
      scope: one.scope,
      condition: null,
      conditionVersion: null,
      createdOn: created,
      updatedOn: created,
      createdBy: one.createdBy,
      updatedBy: one.createdBy,
      delegatedManagedIdentityResourceId: null,
      description: null,
    },
  };
}

/** `scope` is empty, or a subscription. */
export function roleShape(scope: string, role: Role): Json {
  return {
    id: roleId(scope, role.id),
    name: role.id,
    type: 'Microsoft.Authorization/roleDefinitions',
    properties: {
      roleName: role.name,
      type: 'BuiltInRole',
      description: role.description,
      assignableScopes: ['/'],
      permissions: [
        { actions: role.actions, notActions: role.notActions, dataActions: [], notDataActions: [] },
      ],
    },
  };
}

function roleId(scope: string, id: string): string {
  return `${scope}/providers/Microsoft.Authorization/roleDefinitions/${id}`;
}

const OPERATIONS: readonly (readonly [name: string, resource: string, operation: string])[] = [
  ['operations/read', 'Operations', 'Get operations'],
  ['managedHSMs/read', 'Managed HSM', 'View a managed HSM'],
  ['managedHSMs/write', 'Managed HSM', 'Create or update a managed HSM'],
  ['managedHSMs/delete', 'Managed HSM', 'Delete a managed HSM'],
  ['managedHSMs/keys/read', 'Managed HSM key', 'List or view keys'],
  ['managedHSMs/keys/write', 'Managed HSM key', 'Create a key'],
  ['managedHSMs/privateEndpointConnections/read', 'Private endpoint connection', 'View connections'],
  ['managedHSMs/privateEndpointConnections/write', 'Private endpoint connection', 'Approve or reject one'],
  ['managedHSMs/privateEndpointConnections/delete', 'Private endpoint connection', 'Delete one'],
  ['managedHSMs/privateLinkResources/read', 'Private link resource', 'List private link resources'],
  ['deletedManagedHsms/read', 'Soft-deleted managed HSM', 'List deleted managed HSMs'],
  ['locations/deletedManagedHsms/read', 'Soft-deleted managed HSM', 'View a deleted managed HSM'],
  ['locations/deletedManagedHsms/purge/action', 'Soft-deleted managed HSM', 'Purge a deleted managed HSM'],
  ['locations/managedHsmOperationResults/read', 'Operation', 'View the result of an operation'],
  ['checkMhsmNameAvailability/action', 'Managed HSM', 'Check the availability of a name'],
];

export function operationShapes(): Json[] {
  return OPERATIONS.map(([name, resource, operation]) => ({
    name: `Microsoft.KeyVault/${name}`,
    display: { provider: 'Microsoft Key Vault', resource, operation, description: `${operation}.` },
    isDataAction: false,
  }));
}

/** Without fraction, as the service writes it. */
function moment(time: Seconds): string {
  return new Date(time * 1_000).toISOString().replace('.000Z', 'Z');
}
