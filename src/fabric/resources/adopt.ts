// How the resources begin: with the first pool, or with the pools that an earlier build has left. Pure.
import type { Seconds } from '../../values/moments.js';
import { note } from './change.js';
import { OWNER } from './rbac.js';
import { emptyState, groupNamed, sameName } from './state.js';
import type { Hsm, ResourceState } from './state.js';

/** Where things are that were made without a wish for a place. */
export const HOME_LOCATION = 'local';

/** A pool that is there, or is to be, without anybody having asked the control plane for it. */
export interface FoundPool {
  readonly poolId: string;
  readonly name: string;
  readonly createdAt: Seconds;
  readonly tenantId: string;
  readonly administrators: readonly string[];
  readonly cryptoUsers: readonly string[];
  readonly retentionDays: number;
  readonly purgeProtection: boolean;
  /** It has served already. */
  readonly founded: boolean;
}

/** What a new installation begins with: a group, and an owner of the subscription who may do anything in it. */
export function beginning(
  subscriptionId: string,
  group: string,
  owner: { readonly objectId: string; readonly assignment: string } | undefined,
  now: Seconds,
): ResourceState {
  const empty = emptyState(subscriptionId);
  const assignments = owner
    ? [
        {
          name: owner.assignment,
          scope: `/subscriptions/${subscriptionId}`,
          principalId: owner.objectId,
          principalType: 'ServicePrincipal',
          role: OWNER,
          createdBy: owner.objectId,
          createdAt: now,
        },
      ]
    : [];
  return { ...empty, groups: [{ name: group, location: HOME_LOCATION, tags: {} }], assignments };
}

/** Takes a pool in as an HSM of a group; one that is known already stays as it is. */
export function adopt(state: ResourceState, group: string, found: FoundPool): ResourceState {
  if (state.hsms.some(({ name }) => sameName(name, found.name))) return state;
  const home = groupNamed(state, group) ?? { name: group, location: HOME_LOCATION, tags: {} };
  const groups = state.groups.includes(home) ? state.groups : [...state.groups, home];
  const [by = ''] = found.administrators;
  const hsm: Hsm = {
    poolId: found.poolId,
    name: found.name,
    pool: found.name.toLowerCase(),
    group: home.name,
    location: home.location,
    tags: {},
    sku: { family: 'B', name: 'Standard_B1' },
    tenantId: found.tenantId,
    administrators: found.administrators,
    cryptoUsers: found.cryptoUsers,
    retentionDays: found.retentionDays,
    purgeProtection: found.purgeProtection,
    networkAcls: {
      bypass: 'AzureServices',
      defaultAction: 'Allow',
      ipRules: [],
      serviceTags: [],
      virtualNetworkRules: [],
    },
    publicNetworkAccess: 'Enabled',
    connections: [],
    systemData: {
      createdBy: by,
      createdAt: found.createdAt,
      lastModifiedBy: by,
      lastModifiedAt: found.createdAt,
    },
    phase: found.founded ? 'Running' : 'Provisioning',
    founded: found.founded,
  };
  const next = { ...state, groups, hsms: [...state.hsms, hsm] };
  return found.founded ? note(next, hsm, 'provisioned', found.createdAt) : next;
}
