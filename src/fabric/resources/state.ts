// What there is on the control plane: subscription, resource groups, HSMs living and deleted, operations, and who may do
// what. Plain values that are written to disk as they are. Knows no process, no directory and no clock.
//
// Invariants:
// - a pool's name belongs to at most one HSM, from its creation until its purge has ended;
// - a living HSM's group exists; a group that is being deleted takes no new ones;
// - an operation that is in progress belongs to an HSM or a group that is on its way;
// - events are numbered without gaps, and leave only from the front.
import type { PoolEvent } from '../../values/pool-event.js';
import type { Seconds } from '../../values/moments.js';

export type SubscriptionState = 'Enabled' | 'Disabled' | 'Warned';

export interface Subscription {
  readonly id: string;
  readonly displayName: string;
  readonly state: SubscriptionState;
}

export type Tags = Readonly<Record<string, string>>;

export interface Group {
  readonly name: string;
  readonly location: string;
  readonly tags: Tags;
  /** The operation that deletes it. */
  readonly deleting?: string;
}

/**
 * Where an HSM is in its life. `Provisioning` until its pool has served for the first time, or `Failed`; `Deleting`
 * until its pool is closed, `Deleted` from then on; `Recovering` until the pool serves again; `Purging` until nothing is
 * left.
 */
export type Phase = 'Provisioning' | 'Failed' | 'Running' | 'Deleting' | 'Deleted' | 'Recovering' | 'Purging';

export interface Sku {
  readonly family: string;
  readonly name: string;
}

export interface Identity {
  readonly type: 'SystemAssigned' | 'UserAssigned' | 'SystemAssigned,UserAssigned';
  /** Of the system-assigned one. */
  readonly principalId?: string;
  /** Resource ids of the user-assigned ones. */
  readonly userAssigned: readonly string[];
}

export interface NetworkAcls {
  readonly bypass: 'AzureServices' | 'None';
  readonly defaultAction: 'Allow' | 'Deny';
  readonly ipRules: readonly string[];
  readonly serviceTags: readonly string[];
  readonly virtualNetworkRules: readonly string[];
}

export type PublicNetworkAccess = 'Enabled' | 'Disabled';

export type ConnectionStatus = 'Pending' | 'Approved' | 'Rejected' | 'Disconnected';

export interface PrivateEndpointConnection {
  readonly name: string;
  /** Resource id of the private endpoint. */
  readonly endpoint: string;
  readonly status: ConnectionStatus;
  readonly description: string;
  /** Counts changes. */
  readonly revision: number;
}

export interface SystemData {
  readonly createdBy: string;
  readonly createdAt: Seconds;
  readonly lastModifiedBy: string;
  readonly lastModifiedAt: Seconds;
}

export interface Hsm {
  /** Of this HSM alone; a later one of the same name has another. */
  readonly poolId: string;
  /** As it was written at creation. */
  readonly name: string;
  /** The same in lower case: host name and directory. */
  readonly pool: string;
  readonly group: string;
  readonly location: string;
  readonly tags: Tags;
  readonly sku: Sku;
  readonly identity?: Identity;
  readonly tenantId: string;
  readonly administrators: readonly string[];
  /** Get key roles at founding besides; only in the pool that `up` activates itself. */
  readonly cryptoUsers: readonly string[];
  readonly retentionDays: number;
  readonly purgeProtection: boolean;
  readonly networkAcls: NetworkAcls;
  readonly publicNetworkAccess: PublicNetworkAccess;
  readonly connections: readonly PrivateEndpointConnection[];
  readonly systemData: SystemData;
  readonly phase: Phase;
  /** It has served: its directory holds keys, perhaps, and it is charged for. */
  readonly founded: boolean;
  /** What stood in the way last, while something does. */
  readonly problem?: string;
  /** What is in progress. */
  readonly operation?: string;
  readonly deletedAt?: Seconds;
  readonly scheduledPurgeAt?: Seconds;
}

export interface Operation {
  readonly id: string;
  readonly kind: 'create' | 'recover' | 'delete' | 'purge' | 'deleteGroup';
  /** Name of the HSM's pool, or of the group. */
  readonly target: string;
  /** The group of the HSM, for who asks what has become of it. */
  readonly group: string;
  readonly location: string;
  /** Object id of who began it. */
  readonly by: string;
  readonly status: 'InProgress' | 'Succeeded' | 'Failed';
  readonly message?: string;
  readonly startedAt: Seconds;
}

export interface RoleAssignment {
  /** GUID, lower case. */
  readonly name: string;
  /** As it was written; compared in lower case. */
  readonly scope: string;
  readonly principalId: string;
  readonly principalType: string;
  /** GUID of the definition. */
  readonly role: string;
  readonly createdBy: string;
  readonly createdAt: Seconds;
}

export interface ResourceState {
  readonly version: 1;
  readonly subscription: Subscription;
  readonly groups: readonly Group[];
  readonly hsms: readonly Hsm[];
  /** The newest last. */
  readonly operations: readonly Operation[];
  readonly assignments: readonly RoleAssignment[];
  /** The number of the last event. */
  readonly sequence: number;
  /** Those that the meter has not yet acknowledged. */
  readonly events: readonly PoolEvent[];
}

/** So many ended operations are remembered. */
export const OPERATIONS_MAX = 1_000;

/** Without groups and HSMs; nobody may do anything yet. */
export function emptyState(subscriptionId: string): ResourceState {
  return {
    version: 1,
    subscription: { id: subscriptionId, displayName: 'Trivet', state: 'Enabled' },
    groups: [],
    hsms: [],
    operations: [],
    assignments: [],
    sequence: 0,
    events: [],
  };
}

/** Whether it is on the living side: shown, changed and deleted, and not recovered or purged. */
export function isLiving({ phase }: Hsm): boolean {
  return phase !== 'Deleted' && phase !== 'Purging';
}

/** Whether its pool should run. */
export function isWanted({ phase }: Hsm): boolean {
  return phase === 'Provisioning' || phase === 'Running' || phase === 'Recovering';
}

/** Names of resources are equal in any case. */
export function sameName(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}

export function groupNamed(state: ResourceState, name: string): Group | undefined {
  return state.groups.find((group) => sameName(group.name, name));
}

/** A living HSM of a group. */
export function hsmNamed(state: ResourceState, group: string, name: string): Hsm | undefined {
  return state.hsms.find((hsm) => isLiving(hsm) && sameName(hsm.group, group) && sameName(hsm.name, name));
}

/** A deleted HSM that can still be recovered, or is being purged. */
export function deletedNamed(state: ResourceState, location: string, name: string): Hsm | undefined {
  return state.hsms.find(
    (hsm) => !isLiving(hsm) && hsm.location === locationName(location) && sameName(hsm.name, name),
  );
}

/** How a location is compared: `East US 2` is `eastus2`. */
export function locationName(text: string): string {
  return text.replaceAll(' ', '').toLowerCase();
}

export function groupId(state: ResourceState, group: string): string {
  return `/subscriptions/${state.subscription.id}/resourceGroups/${group}`;
}

export function hsmId(state: ResourceState, { group, name }: Pick<Hsm, 'group' | 'name'>): string {
  return `${groupId(state, group)}/providers/Microsoft.KeyVault/managedHSMs/${name}`;
}
