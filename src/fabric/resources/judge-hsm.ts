// Wishes about HSMs: create, replace, recover, update, delete, purge. Pure.
import { ArmRefusal } from './refusal.js';
import { begin, replaceHsm, settled } from './change.js';
import { close, purge } from './life.js';
import { isHsmName, isLocation } from './names.js';
import { checkNetwork } from './network.js';
import {
  deletedNamed,
  groupId,
  groupNamed,
  hsmId,
  hsmNamed,
  isLiving,
  locationName,
  sameName,
} from './state.js';
import type { Group, Hsm, NetworkAcls, ResourceState, Sku } from './state.js';
import type { Circumstances, HsmProperties, PatchHsm, PutHsm, Wish } from './wish.js';

type Judged = ResourceState | ArmRefusal;
type WishOf<K extends Wish['kind']> = Extract<Wish, { kind: K }>;

/** The service's own limit for a subscription and region; deleted HSMs keep their hardware and count. */
export const HSMS_A_REGION = 5;
const RETENTION = { min: 7, max: 90, usual: 90 };
const SKUS: Readonly<Record<string, readonly string[]>> = {
  B: ['Standard_B1', 'Custom_B32', 'Custom_B6'],
  C: ['Custom_C42', 'Custom_C10'],
};
const OPEN_ACLS: NetworkAcls = {
  bypass: 'AzureServices',
  defaultAction: 'Allow',
  ipRules: [],
  serviceTags: [],
  virtualNetworkRules: [],
};

export function putHsm(state: ResourceState, wish: PutHsm, circumstances: Circumstances): Judged {
  const group = groupNamed(state, wish.group);
  if (!group) return noGroup(wish.group);
  const present = hsmNamed(state, wish.group, wish.name);
  const recovering = wish.properties.createMode === 'recover';
  if (present && !recovering) {
    return present.phase === 'Failed'
      ? createAgain(state, present, wish, circumstances)
      : update(state, present, wish, circumstances);
  }
  if (group.deleting !== undefined) return beingDeleted(group);
  if (recovering) return recover(state, wish, circumstances);
  return create(state, group, wish, circumstances);
}

export function patchHsm(state: ResourceState, wish: PatchHsm, circumstances: Circumstances): Judged {
  const present = hsmNamed(state, wish.group, wish.name);
  return present ? update(state, present, wish, circumstances) : noHsm(state, wish);
}

export function deleteHsm(state: ResourceState, wish: WishOf<'DeleteHsm'>, { now }: Circumstances): Judged {
  const present = hsmNamed(state, wish.group, wish.name);
  if (!present) return noHsm(state, wish);
  if (present.phase === 'Deleting') return busy(present);
  const begun = begin(state, {
    id: wish.operation,
    kind: 'delete',
    target: present.pool,
    group: present.group,
    location: present.location,
    by: wish.by,
    startedAt: now,
  });
  return close(begun, present, wish.operation, now);
}

export function purgeHsm(state: ResourceState, wish: WishOf<'PurgeHsm'>, { now }: Circumstances): Judged {
  const present = deletedNamed(state, wish.location, wish.name);
  if (!present) return noDeleted(wish.name, wish.location);
  if (present.phase === 'Purging') return busy(present);
  if (present.purgeProtection) {
    return new ArmRefusal(
      'PurgeProtected',
      'Operation "DeletedManagedHsmPurge" is not allowed because purge protection is enabled for this managed HSM. ' +
        'Key Vault service will automatically purge it after the retention period has passed.\r\n' +
        `Managed HSM: ${present.name};location=${present.location}`,
    );
  }
  const begun = begin(state, {
    id: wish.operation,
    kind: 'purge',
    target: present.pool,
    group: present.group,
    location: present.location,
    by: wish.by,
    startedAt: now,
  });
  return purge(begun, present, now, wish.operation);
}

/** Whether somebody may take a name, and why not. */
export function nameProblem(
  state: ResourceState,
  name: string,
): { readonly reason: 'AccountNameInvalid' | 'AlreadyExists'; readonly message: string } | undefined {
  if (!isHsmName(name)) return { reason: 'AccountNameInvalid', message: invalidName(name) };
  const holder = holderOf(state, name);
  if (!holder) return undefined;
  return {
    reason: 'AlreadyExists',
    message: isLiving(holder) ? `The name '${name}' is already in use.` : heldName(name),
  };
}

function create(state: ResourceState, group: Group, wish: PutHsm, { now, poolsMax }: Circumstances): Judged {
  const { properties, name } = wish;
  const problem = nameProblem(state, name);
  if (problem?.reason === 'AccountNameInvalid') return new ArmRefusal('AccountNameInvalid', problem.message);
  if (problem) return new ArmRefusal('ConflictError', problem.message);
  const location = locationName(properties.location ?? '');
  if (location === '') {
    return new ArmRefusal('LocationRequired', 'The location property is required for this definition.');
  }
  if (!isLocation(location)) {
    return new ArmRefusal(
      'InvalidLocation',
      `The provided location '${properties.location ?? ''}' is not valid.`,
    );
  }
  const wrong = checkNew(properties, wish.tenantId) ?? checkAny(properties, location);
  if (wrong) return wrong;
  const inRegion = state.hsms.filter((hsm) => hsm.location === location).length;
  if (inRegion >= HSMS_A_REGION) {
    return new ArmRefusal(
      'QuotaExceeded',
      `The subscription has ${inRegion} managed HSMs in region '${location}', those that are deleted and not purged ` +
        `included; the limit is ${HSMS_A_REGION}.`,
    );
  }
  if (state.hsms.length >= poolsMax) {
    return new ArmRefusal(
      'InsufficientCapacity',
      `This machine holds ${poolsMax} managed HSMs, those that are deleted and not purged included, and has no place ` +
        'for one more. Purge one, or start Trivet with a larger --max-pools.',
    );
  }
  const hsm: Hsm = {
    poolId: wish.poolId,
    name,
    pool: name.toLowerCase(),
    group: group.name,
    location,
    tags: properties.tags ?? {},
    sku: properties.sku ?? { family: 'B', name: 'Standard_B1' },
    ...(properties.identity && properties.identity !== 'None' && { identity: properties.identity }),
    tenantId: wish.tenantId,
    administrators: properties.administrators ?? [],
    cryptoUsers: [],
    retentionDays: properties.retentionDays ?? RETENTION.usual,
    purgeProtection: properties.purgeProtection ?? false,
    networkAcls: properties.networkAcls ?? OPEN_ACLS,
    publicNetworkAccess: properties.publicNetworkAccess ?? 'Enabled',
    connections: [],
    systemData: { createdBy: wish.by, createdAt: now, lastModifiedBy: wish.by, lastModifiedAt: now },
    phase: 'Provisioning',
    founded: false,
    operation: wish.operation,
  };
  return begin({ ...state, hsms: [...state.hsms, hsm] }, creating(hsm, wish, now));
}

// One that never served begins anew under what is wished now; its place is its own already.
function createAgain(state: ResourceState, failed: Hsm, wish: PutHsm, circumstances: Circumstances): Judged {
  const without = { ...state, hsms: state.hsms.filter((hsm) => hsm !== failed) };
  const group = groupNamed(state, wish.group);
  if (!group) return noGroup(wish.group);
  if (group.deleting !== undefined) return beingDeleted(group);
  return create(without, group, wish, circumstances);
}

function creating(hsm: Hsm, wish: PutHsm, now: number): Parameters<typeof begin>[1] {
  return {
    id: wish.operation,
    kind: wish.properties.createMode === 'recover' ? 'recover' : 'create',
    target: hsm.pool,
    group: hsm.group,
    location: hsm.location,
    by: wish.by,
    startedAt: now,
  };
}

function recover(state: ResourceState, wish: PutHsm, { now }: Circumstances): Judged {
  const holder = holderOf(state, wish.name);
  if (!holder) {
    return new ArmRefusal(
      'DeletedMhsmNotFound',
      `There is no deleted managed HSM with the name '${wish.name}' to recover.`,
    );
  }
  if (isLiving(holder)) {
    return new ArmRefusal('ConflictError', `The managed HSM '${wish.name}' exists and is not deleted.`);
  }
  if (!sameName(holder.group, wish.group)) {
    return new ArmRefusal(
      'DeletedMhsmNotFound',
      `The deleted managed HSM '${wish.name}' belongs to resource group '${holder.group}' and is recovered there.`,
    );
  }
  const { location } = wish.properties;
  if (location !== undefined && locationName(location) !== holder.location) {
    return new ArmRefusal(
      'DeletedMhsmNotFound',
      `The deleted managed HSM '${wish.name}' is in location '${holder.location}' and is recovered there.`,
    );
  }
  if (holder.phase === 'Purging') return busy(holder);
  const begun = begin(state, creating(holder, wish, now));
  return replaceHsm(
    begun,
    settled(modified(holder, wish.by, now), { phase: 'Recovering', operation: wish.operation }),
  );
}

function update(state: ResourceState, present: Hsm, wish: PutHsm | PatchHsm, { now }: Circumstances): Judged {
  if (present.phase !== 'Running') return busy(present);
  const { properties } = wish;
  const wrong = checkChange(present, properties, wish.tenantId) ?? checkAny(properties, present.location);
  if (wrong) return wrong;
  const { identity: before, ...rest } = present;
  const identity = properties.identity ?? before;
  return replaceHsm(
    state,
    modified(
      {
        ...rest,
        ...(identity && identity !== 'None' && { identity: keepPrincipal(identity, before) }),
        tags: properties.tags ?? present.tags,
        sku: properties.sku ?? present.sku,
        purgeProtection: properties.purgeProtection ?? present.purgeProtection,
        networkAcls: properties.networkAcls ?? present.networkAcls,
        publicNetworkAccess: properties.publicNetworkAccess ?? present.publicNetworkAccess,
      },
      wish.by,
      now,
    ),
  );
}

// A system-assigned identity is one and the same as long as there is one.
function keepPrincipal(
  wished: NonNullable<Hsm['identity']>,
  before: Hsm['identity'],
): NonNullable<Hsm['identity']> {
  if (wished.principalId === undefined || before?.principalId === undefined) return wished;
  return { ...wished, principalId: before.principalId };
}

export function modified(hsm: Hsm, by: string, now: number): Hsm {
  return { ...hsm, systemData: { ...hsm.systemData, lastModifiedBy: by, lastModifiedAt: now } };
}

function checkNew(properties: HsmProperties, tenantId: string): ArmRefusal | undefined {
  const { administrators = [], tenantId: wished } = properties;
  if (wished === undefined) return bad('The property "tenantId" is required.');
  if (wished !== tenantId) return wrongTenant(wished, tenantId);
  if (administrators.length === 0) {
    return bad('The property "initialAdminObjectIds" must name at least one administrator.');
  }
  return undefined;
}

function checkChange(present: Hsm, properties: HsmProperties, tenantId: string): ArmRefusal | undefined {
  const { location, tenantId: wished, retentionDays, purgeProtection } = properties;
  if (location !== undefined && locationName(location) !== present.location) {
    return new ArmRefusal(
      'InvalidResourceLocation',
      `The resource '${present.name}' already exists in location '${present.location}' in resource group ` +
        `'${present.group}'. A resource with the same name cannot be created in location '${locationName(location)}'. ` +
        'Please select a new resource name.',
    );
  }
  if (wished !== undefined && wished !== tenantId) return wrongTenant(wished, tenantId);
  if (retentionDays !== undefined && retentionDays !== present.retentionDays) {
    return bad('The property "softDeleteRetentionInDays" has been set already and it can\'t be modified.');
  }
  if (present.purgeProtection && purgeProtection === false) {
    return bad(
      'The property "enablePurgeProtection" cannot be set to false. Enabling the purge protection for a managed HSM ' +
        'is an irreversible action.',
    );
  }
  return undefined;
}

function checkAny(properties: HsmProperties, location: string): ArmRefusal | undefined {
  const { sku, retentionDays, enableSoftDelete, networkAcls, regions = [] } = properties;
  if (sku && !isSku(sku)) {
    return bad(`The sku '${sku.name}' of family '${sku.family}' is not one of managed HSMs.`);
  }
  if (enableSoftDelete === false) {
    return bad('The property "enableSoftDelete" cannot be set to false: soft delete is always on.');
  }
  if (
    retentionDays !== undefined &&
    !(Number.isInteger(retentionDays) && retentionDays >= RETENTION.min && retentionDays <= RETENTION.max)
  ) {
    return bad(
      `The property "softDeleteRetentionInDays" must be a whole number from ${RETENTION.min} to ${RETENTION.max}.`,
    );
  }
  const elsewhere = regions.find((region) => locationName(region) !== location);
  if (elsewhere !== undefined) {
    return new ArmRefusal(
      'NumericBadRequest',
      `Invalid region name: ${elsewhere} passed. The valid list of region names: ${location}`,
    );
  }
  const problem = networkAcls && checkNetwork(networkAcls);
  return problem === undefined ? undefined : bad(problem);
}

function isSku({ family, name }: Sku): boolean {
  const names = SKUS[family.toUpperCase()] ?? [];
  return names.some((known) => sameName(known, name));
}

function holderOf(state: ResourceState, name: string): Hsm | undefined {
  return state.hsms.find((hsm) => sameName(hsm.name, name));
}

function bad(message: string): ArmRefusal {
  return new ArmRefusal('BadRequest', message);
}

function wrongTenant(wished: string, tenantId: string): ArmRefusal {
  return bad(`The tenant '${wished}' is not the one of this subscription, which is '${tenantId}'.`);
}

function invalidName(name: string): string {
  return (
    `The managed HSM name '${name.slice(0, 100)}' is invalid. A name must be 3 to 24 letters, digits and hyphens, begin ` +
    'with a letter, end with a letter or digit, and have no two hyphens in a row.'
  );
}

function heldName(name: string): string {
  return (
    'A KV MHSM with the same name already exists in deleted state. You need to either recover or purge existing ' +
    `managed HSM '${name}'.`
  );
}

export function noGroup(name: string): ArmRefusal {
  return new ArmRefusal('ResourceGroupNotFound', `Resource group '${name}' could not be found.`);
}

export function noHsm(state: ResourceState, { group, name }: { group: string; name: string }): ArmRefusal {
  const found = groupNamed(state, group);
  if (!found) return noGroup(group);
  const id = hsmId(state, { group: found.name, name }).slice(
    groupId(state, found.name).length + '/providers/'.length,
  );
  return new ArmRefusal(
    'ResourceNotFound',
    `The Resource '${id}' under resource group '${found.name}' was not found. For more details please go to ` +
      'https://aka.ms/ARMResourceNotFoundFix',
  );
}

export function noDeleted(name: string, location: string): ArmRefusal {
  return new ArmRefusal(
    'DeletedMhsmNotFound',
    `The deleted managed HSM '${name}' was not found in location '${location}'.`,
  );
}

function beingDeleted({ name }: Group): ArmRefusal {
  return new ArmRefusal(
    'ResourceGroupBeingDeleted',
    `The resource group '${name}' is in deprovisioning state and cannot perform this operation.`,
  );
}

function busy({ name, phase }: Hsm): ArmRefusal {
  return new ArmRefusal(
    'AnotherOperationInProgress',
    `Another operation is in progress on the managed HSM '${name}' (${phase}). Retry when it has ended.`,
  );
}
